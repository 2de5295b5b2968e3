"""OAuth clients in this worker's memory, for as long as they have not changed."""

from holdfast.apps.identity.clients import queries
from holdfast.apps.identity.clients.schemas import Client, client_of
from holdfast.core.cache import Cache
from holdfast.core.db import Database
from holdfast.core.epochs import Lease

TTL_S = 300


def clients_cache(db: Database, lease: Lease) -> Cache[str, Client | None]:
    async def select(client_id: str) -> Client | None:
        row = await queries.select_client(db, client_id)
        return None if row is None else client_of(row)

    return Cache(
        "identity:clients",
        select,
        type=Client,
        redis=None,
        ttl_s=TTL_S,
        noted=lambda: lease.slots.noted,
        fresh=lambda client, noted: client is not None and lease.trusts(client.slots, noted),
    )
