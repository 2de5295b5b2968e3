"""Generated from queries.sql by `make sql`; edit that file instead."""
from typing import Any, NamedTuple
from uuid import UUID
from datetime import datetime, timedelta
from holdfast.core.db import Executor

INSERT_EVENTS = """
INSERT INTO outbox (type, payload) SELECT $1, unnest($2::jsonb[]);"""

async def insert_events(db: Executor, *, type: Any, payloads: Any) -> None:
    await db.execute(INSERT_EVENTS, type, payloads)

LOCK_WAITING_EVENTS = """
SELECT id, created_at, type, payload FROM outbox
WHERE relayed_at IS NULL
ORDER BY id
LIMIT $1
FOR UPDATE SKIP LOCKED;"""

class Event(NamedTuple):
    id: UUID
    created_at: datetime
    type: str
    payload: str


async def lock_waiting_events(db: Executor, most: Any) -> list[Event]:
    return [Event(*r) for r in await db.fetch(LOCK_WAITING_EVENTS, most)]

UPDATE_EVENTS_RELAYED = """
UPDATE outbox SET relayed_at = now()
WHERE id = ANY($1::uuid[]) AND created_at >= $2;"""

async def update_events_relayed(db: Executor, *, ids: Any, oldest: Any) -> None:
    await db.execute(UPDATE_EVENTS_RELAYED, ids, oldest)

UPDATE_EVENTS_WAITING_AGAIN = """
UPDATE outbox SET relayed_at = NULL WHERE relayed_at IS NOT NULL;"""

async def update_events_waiting_again(db: Executor) -> int:
    return int((await db.execute(UPDATE_EVENTS_WAITING_AGAIN)).split()[-1])

SELECT_EVENTS_WAITING = """
SELECT count(*) AS waiting FROM outbox WHERE relayed_at IS NULL;"""

async def select_events_waiting(db: Executor) -> Any:
    return await db.fetchval(SELECT_EVENTS_WAITING)
