"""The grants of each session: in the worker's memory, in Redis, and in the database.

An entry holds for as long as the worker's lease does and nothing that it rests on has changed;
its lifetime only bounds memory. What Redis keeps is tied to this database by its lineage.
"""

from collections.abc import Mapping
from uuid import UUID

from redis.asyncio import Redis

from holdfast.apps.identity.access import queries
from holdfast.apps.identity.access.schemas import Grants, ended, grants_of
from holdfast.core.cache import Cache
from holdfast.core.db import Database
from holdfast.core.epochs import Lease
from holdfast.core.merge import Merge

TTL_S = 300
SESSIONS_IN_MEMORY = 50_000


def grants_cache(db: Database, redis: Redis, lease: Lease) -> Cache[UUID, Grants]:
    async def select(sessions: list[UUID]) -> list[Grants]:
        rows = await queries.select_grants(db, list(dict.fromkeys(sessions)))
        found: Mapping[UUID, Grants] = {row.session_id: grants_of(row) for row in rows}
        return [found.get(session) or ended(session) for session in sessions]

    return Cache(
        f"identity:{lease.lineage}:grants:2",
        Merge(select, name="select_grants"),
        type=Grants,
        redis=redis,
        ttl_s=TTL_S,
        size=SESSIONS_IN_MEMORY,
        noted=lambda: lease.slots.noted,
        fresh=lambda grants, noted: lease.trusts(grants.slots, noted),
    )
