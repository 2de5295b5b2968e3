"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_TICKET = """
INSERT INTO tickets (hash, expires_at, purpose, user_id, facts)
VALUES ($1, $2, $3, $4, $5)
"""


async def insert_ticket(
    db: Executor,
    *,
    hash: bytes,
    expires_at: datetime,
    purpose: str,
    user_id: UUID | None,
    facts: str,
) -> None:
    await db.execute(INSERT_TICKET, hash, expires_at, purpose, user_id, facts)


class Redeemed(NamedTuple):
    user_id: UUID | None
    facts: str


UPDATE_TICKET_USED = """
UPDATE tickets SET used_at = now()
WHERE hash = $1 AND expires_at = $2 AND expires_at > now() AND used_at IS NULL
RETURNING user_id, facts
"""


async def update_ticket_used(db: Executor, *, hash: bytes, expires_at: datetime) -> Redeemed | None:
    """Use it up, once: of many at the same moment one gets the row."""
    record = await db.fetchrow(UPDATE_TICKET_USED, hash, expires_at)
    return None if record is None else Redeemed(*record)


class Ticket(NamedTuple):
    user_id: UUID | None
    facts: str
    used: bool


SELECT_TICKET = """
SELECT user_id, facts, (used_at IS NOT NULL)::boolean AS used FROM tickets
WHERE hash = $1 AND expires_at = $2 AND expires_at > now()
"""


async def select_ticket(db: Executor, *, hash: bytes, expires_at: datetime) -> Ticket | None:
    """What it says, used or not, for as long as it is valid."""
    record = await db.fetchrow(SELECT_TICKET, hash, expires_at)
    return None if record is None else Ticket(*record)


DELETE_USER_TICKETS = """
DELETE FROM tickets WHERE user_id = $1 AND used_at IS NULL
"""


async def delete_user_tickets(db: Executor, user_id: UUID | None) -> None:
    """The user's open links and steps are worth nothing any more."""
    await db.execute(DELETE_USER_TICKETS, user_id)
