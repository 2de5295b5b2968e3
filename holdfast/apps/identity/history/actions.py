"""Writing the login history, many attempts at once, and following its chains."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from holdfast.apps.identity.history import queries
from holdfast.apps.identity.history.rules import Attempt, BrokenChainError, digests, verify
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.secrets import Secrets
from holdfast.core.db import Database

STRETCH = 1000


class End(Protocol):
    """Where a chain ends."""

    @property
    def length(self) -> int: ...
    @property
    def head(self) -> bytes: ...


async def record_logins(here: Identity, attempts: list[Attempt]) -> Sequence[None]:
    """Append attempts to the chain, in their order. Called through `here.merged`."""
    if not await _append_unlocked(here, attempts):
        await _append_locked(here, attempts)
    return [None] * len(attempts)


async def _append_unlocked(here: Identity, attempts: Sequence[Attempt]) -> bool:
    """In one statement, if the chain ends where this worker last saw it."""
    seen, at = here.chain_end, datetime.now(UTC)
    if not seen.length:
        return False
    rows = _rows(here.secrets, seen, at, attempts)
    head = rows["digests"][-1]
    if not await queries.insert_logins_after(
        here.db, at=at, head=head, seen_head=seen.head, **rows
    ):
        return False
    seen.length, seen.head = seen.length + len(attempts), head
    return True


async def _append_locked(here: Identity, attempts: Sequence[Attempt]) -> None:
    """Another worker has appended, or a new period has begun: look at the chain, and hold it."""
    async with here.db.transaction() as db:
        chain = await queries.upsert_login_chain(db)
        rows = _rows(here.secrets, chain, chain.at, attempts)
        length, head = chain.length + len(attempts), rows["digests"][-1]
        await queries.insert_logins(db, period=chain.period, at=chain.at, **rows)
        await queries.update_login_chain(db, period=chain.period, length=length, head=head)
    here.chain_end.length, here.chain_end.head = length, head


def _rows(
    secrets: Secrets, end: End, at: datetime, attempts: Sequence[Attempt]
) -> dict[str, list[Any]]:
    """The columns of attempts that follow this end of a chain."""
    first = end.length + 1
    return {
        "positions": list(range(first, first + len(attempts))),
        "accounts": [attempt.account for attempt in attempts],
        "user_ids": [attempt.user_id for attempt in attempts],
        "ips": [attempt.ip for attempt in attempts],
        "devices": [attempt.device for attempt in attempts],
        "outcomes": [attempt.outcome for attempt in attempts],
        "digests": list(digests(secrets, end.head, at, first, attempts)),
    }


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
