"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_EVENTS = """
INSERT INTO outbox (type, payload) SELECT $1, unnest($2::jsonb[])
"""


async def insert_events(db: Executor, *, type: str, payloads: Sequence[str]) -> None:
    await db.execute(INSERT_EVENTS, type, payloads)


class Event(NamedTuple):
    id: UUID
    created_at: datetime
    type: str
    payload: str


LOCK_WAITING_EVENTS = """
SELECT id, created_at, type, payload FROM outbox
WHERE relayed_at IS NULL
ORDER BY id
LIMIT $1
FOR UPDATE SKIP LOCKED
"""


async def lock_waiting_events(db: Executor, most: int) -> list[Event]:
    """The oldest events that were not relayed; another relay at work takes others."""
    return [Event(*record) for record in await db.fetch(LOCK_WAITING_EVENTS, most)]


UPDATE_EVENTS_RELAYED = """
UPDATE outbox SET relayed_at = now()
WHERE id = ANY($1::uuid[]) AND created_at >= $2
"""


async def update_events_relayed(db: Executor, *, ids: Sequence[UUID], oldest: datetime) -> None:
    await db.execute(UPDATE_EVENTS_RELAYED, ids, oldest)


class Log(NamedTuple):
    id: UUID
    place: str
    position: str


SELECT_LOG = """
SELECT id, place, position FROM outbox_log
"""


async def select_log(db: Executor) -> Log:
    [record] = await db.fetch(SELECT_LOG)
    return Log(*record)


UPDATE_LOG_REACHED = """
UPDATE outbox_log SET position = $1 WHERE id = $2
"""


async def update_log_reached(db: Executor, *, position: str, id: UUID) -> int:
    """It has come so far, if it still is the one that events go to. The row stays locked until commit."""
    status = await db.execute(UPDATE_LOG_REACHED, position, id)
    return int(status.rpartition(" ")[2])


UPDATE_LOG_BEGUN = """
UPDATE outbox_log SET id = uuidv7(), place = $1, position = '' WHERE singleton
"""


async def update_log_begun(db: Executor, place: str) -> None:
    await db.execute(UPDATE_LOG_BEGUN, place)


UPDATE_EVENTS_WAITING_AGAIN = """
UPDATE outbox SET relayed_at = NULL
WHERE relayed_at IS NOT NULL AND created_at > now() - interval '7 days'
"""


async def update_events_waiting_again(db: Executor) -> int:
    """Everything of the last seven days is to be relayed once more; consumers remember no more than that."""
    status = await db.execute(UPDATE_EVENTS_WAITING_AGAIN)
    return int(status.rpartition(" ")[2])


class Waiting(NamedTuple):
    events: int
    oldest_s: float


SELECT_EVENTS_WAITING = """
SELECT count(*) AS events, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s
FROM outbox WHERE relayed_at IS NULL
"""


async def select_events_waiting(db: Executor) -> Waiting:
    [record] = await db.fetch(SELECT_EVENTS_WAITING)
    return Waiting(*record)
