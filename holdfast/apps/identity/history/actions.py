"""Writing the login history, many attempts in one transaction."""

from collections.abc import Sequence

from holdfast.apps.identity.history import queries
from holdfast.apps.identity.history.rules import Attempt, BrokenChainError, digests, verify
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.secrets import Secrets
from holdfast.core.db import Database

STRETCH = 1000


async def record_logins(here: Identity, attempts: list[Attempt]) -> Sequence[None]:
    """Append attempts to the chain, in their order. Called through `here.merged`."""
    async with here.db.transaction() as connection:
        chain = await queries.upsert_login_chain(connection)
        first = chain.length + 1
        added = list(digests(here.secrets, chain.head, chain.at, first, attempts))
        await queries.insert_logins(
            connection,
            period=chain.period,
            at=chain.at,
            positions=range(first, first + len(attempts)),
            accounts=[attempt.account for attempt in attempts],
            user_ids=[attempt.user_id for attempt in attempts],
            ips=[attempt.ip for attempt in attempts],
            devices=[attempt.device for attempt in attempts],
            outcomes=[attempt.outcome for attempt in attempts],
            digests=added,
        )
        await queries.update_login_chain(
            connection, period=chain.period, length=chain.length + len(attempts), head=added[-1]
        )
    return [None] * len(attempts)


async def verify_history(db: Database, secrets: Secrets) -> int:
    """Follow every chain that is still kept; answers how many rows hold, or raises."""
    rows, expected_origin = 0, b""
    for chain in await queries.select_login_chains(db):
        if chain.origin != expected_origin:
            raise BrokenChainError(
                f"The chain of {chain.period:%Y-%m-%d} does not follow the last."
            )
        head, position = chain.origin, 0
        while stretch := await queries.select_chained_logins(
            db, period=chain.period, after=position, most=STRETCH
        ):
            head, position = verify(secrets, head, position, stretch)
        if chain.kept and (head, position) != (chain.head, chain.length):
            raise BrokenChainError(f"The end of the chain of {chain.period:%Y-%m-%d} is missing.")
        rows, expected_origin = rows + position, chain.head
    return rows
