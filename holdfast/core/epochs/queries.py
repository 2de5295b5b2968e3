"""Generated from queries.sql by `make sql`; edit that file instead."""
from typing import Any, NamedTuple
from uuid import UUID
from datetime import datetime, timedelta
from holdfast.core.db import Executor

UPDATE_EPOCH_HEAD = """
UPDATE epoch_head SET number = number + 1 RETURNING number;"""

async def update_epoch_head(db: Executor) -> Any:
    return await db.fetchval(UPDATE_EPOCH_HEAD)

INSERT_EPOCH_CHANGE = """
WITH noted AS (
  INSERT INTO epoch_changes (number, subjects) VALUES ($1, $2)
)
SELECT pg_notify(current_schema() || '_epochs', $1::bigint::text);"""

async def insert_epoch_change(db: Executor, *, number: Any, subjects: Any) -> None:
    await db.execute(INSERT_EPOCH_CHANGE, number, subjects)

SELECT_EPOCH_HEAD = """
SELECT number, lineage FROM epoch_head;"""

class EpochHead(NamedTuple):
    number: int
    lineage: UUID


async def select_epoch_head(db: Executor) -> EpochHead:
    row = await db.fetchrow(SELECT_EPOCH_HEAD)
    return EpochHead(*row) if row else None

SELECT_EPOCH_CHANGES = """
SELECT head.number AS head, changes.number, changes.subjects
FROM epoch_head head
LEFT JOIN epoch_changes changes ON changes.number > $1
ORDER BY changes.number;"""

class EpochChange(NamedTuple):
    head: int
    number: int
    subjects: list[str]


async def select_epoch_changes(db: Executor, after: Any) -> list[EpochChange]:
    return [EpochChange(*r) for r in await db.fetch(SELECT_EPOCH_CHANGES, after)]

UPSERT_EPOCH_WORKER = """
INSERT INTO epoch_workers AS w (worker, acknowledged, lease_s)
VALUES ($1, $2, $3)
ON CONFLICT (worker) DO UPDATE
SET acknowledged = excluded.acknowledged, beats = w.beats + 1;"""

async def upsert_epoch_worker(db: Executor, *, worker: Any, acknowledged: Any, lease_s: Any) -> None:
    await db.execute(UPSERT_EPOCH_WORKER, worker, acknowledged, lease_s)

SELECT_EPOCH_WORKERS_BEHIND = """
SELECT worker, lease_s, beats FROM epoch_workers WHERE acknowledged < $1;"""

class WorkerBehind(NamedTuple):
    worker: UUID
    lease_s: float
    beats: int


async def select_epoch_workers_behind(db: Executor, number: Any) -> list[WorkerBehind]:
    return [WorkerBehind(*r) for r in await db.fetch(SELECT_EPOCH_WORKERS_BEHIND, number)]

DELETE_EPOCH_WORKER = """
DELETE FROM epoch_workers WHERE worker = $1 AND beats = $2;"""

async def delete_epoch_worker(db: Executor, *, worker: Any, beats: Any) -> None:
    await db.execute(DELETE_EPOCH_WORKER, worker, beats)

DELETE_OWN_EPOCH_WORKER = """
DELETE FROM epoch_workers WHERE worker = $1;"""

async def delete_own_epoch_worker(db: Executor, worker: Any) -> None:
    await db.execute(DELETE_OWN_EPOCH_WORKER, worker)
