"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

SELECT_POSITION = """
SELECT position FROM stream_positions WHERE stream = $1
"""


async def select_position(db: Executor, stream: str) -> str | None:
    value: str | None = await db.fetchval(SELECT_POSITION, stream)
    return value


UPSERT_POSITION = """
INSERT INTO stream_positions AS known (stream, position) VALUES ($1, $2)
ON CONFLICT (stream) DO UPDATE SET position = excluded.position WHERE known.position = $3
"""


async def upsert_position(db: Executor, *, stream: str, reached: str, after: str) -> int:
    """Go on to an entry, from the one that was read last. The row stays locked until commit; whoever
    comes second changes nothing.
    """
    status = await db.execute(UPSERT_POSITION, stream, reached, after)
    return int(status.rpartition(" ")[2])


SELECT_EVENTS_SEEN = """
SELECT asked.id FROM (SELECT unnest($1::uuid[]) AS id) AS asked
CROSS JOIN LATERAL (SELECT FROM inbox WHERE event_id = asked.id ORDER BY seen_at LIMIT 1) AS seen
"""


async def select_events_seen(db: Executor, ids: Sequence[UUID]) -> list[UUID]:
    """Those of these that were seen. One by one, and the first in the index's order: the planner must not read
    today's partition whole because it knows nothing of it yet.
    """
    return [record[0] for record in await db.fetch(SELECT_EVENTS_SEEN, ids)]


INSERT_EVENTS_SEEN = """
INSERT INTO inbox (event_id) SELECT unnest($1::uuid[])
"""


async def insert_events_seen(db: Executor, ids: Sequence[UUID]) -> None:
    await db.execute(INSERT_EVENTS_SEEN, ids)


INSERT_SET_ASIDE = """
INSERT INTO set_aside (event_id, stream, at, type, payload, error)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def insert_set_aside(
    db: Executor,
    *,
    event_id: UUID,
    stream: str,
    at: datetime,
    type: str,
    payload: bytes,
    error: str,
) -> None:
    await db.execute(INSERT_SET_ASIDE, event_id, stream, at, type, payload, error)


class Event(NamedTuple):
    id: UUID
    at: datetime
    type: str
    payload: bytes


SELECT_SET_ASIDE = """
SELECT event_id AS id, at, type, payload FROM set_aside
WHERE stream = $1 AND tried_at < now() - $2::interval
ORDER BY tried_at
LIMIT $3
"""


async def select_set_aside(db: Executor, *, stream: str, rest: timedelta, most: int) -> list[Event]:
    """Those whose last try is longest ago, but not within the last moments."""
    return [Event(*record) for record in await db.fetch(SELECT_SET_ASIDE, stream, rest, most)]


DELETE_SET_ASIDE = """
DELETE FROM set_aside WHERE event_id = $1
"""


async def delete_set_aside(db: Executor, event_id: UUID) -> int:
    status = await db.execute(DELETE_SET_ASIDE, event_id)
    return int(status.rpartition(" ")[2])


UPDATE_SET_ASIDE_TRIED = """
UPDATE set_aside SET tried_at = now(), error = $1 WHERE event_id = $2
"""


async def update_set_aside_tried(db: Executor, *, error: str, event_id: UUID) -> None:
    await db.execute(UPDATE_SET_ASIDE_TRIED, error, event_id)


SELECT_SET_ASIDE_COUNT = """
SELECT count(*) FROM set_aside WHERE stream = $1
"""


async def select_set_aside_count(db: Executor, stream: str) -> int:
    [record] = await db.fetch(SELECT_SET_ASIDE_COUNT, stream)
    value: int = record[0]
    return value
