"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

UPDATE_EPOCH_HEAD = """
UPDATE epoch_head SET number = number + 1 RETURNING number
"""


async def update_epoch_head(db: Executor) -> int:
    """Take the next number; the row stays locked until commit, so numbers are gapless and in order."""
    [record] = await db.fetch(UPDATE_EPOCH_HEAD)
    value: int = record[0]
    return value


INSERT_EPOCH_CHANGE = """
WITH noted AS (
  INSERT INTO epoch_changes (number, subjects) VALUES ($1, $2)
)
SELECT pg_notify(current_schema() || '_epochs', CAST($1::bigint AS text))
"""


async def insert_epoch_change(db: Executor, *, number: int, subjects: Sequence[str]) -> None:
    """Note what the number stands for, and wake every worker that listens."""
    await db.execute(INSERT_EPOCH_CHANGE, number, subjects)


class EpochHead(NamedTuple):
    number: int
    lineage: UUID


SELECT_EPOCH_HEAD = """
SELECT number, lineage FROM epoch_head
"""


async def select_epoch_head(db: Executor) -> EpochHead:
    [record] = await db.fetch(SELECT_EPOCH_HEAD)
    return EpochHead(*record)


class EpochChange(NamedTuple):
    head: int
    number: int | None
    subjects: list[str] | None


SELECT_EPOCH_CHANGES = """
SELECT head.number AS head, changes.number, changes.subjects
FROM epoch_head head
LEFT JOIN epoch_changes changes ON changes.number > $1
ORDER BY changes.number
"""


async def select_epoch_changes(db: Executor, after: int) -> list[EpochChange]:
    """All that has changed after a number, and the head: always one row at least. One snapshot, so
    whoever reads a change sees all before it.
    """
    return [EpochChange(*record) for record in await db.fetch(SELECT_EPOCH_CHANGES, after)]


UPSERT_EPOCH_WORKER = """
INSERT INTO epoch_workers (worker, acknowledged, lease_s)
VALUES ($1, $2, $3)
ON CONFLICT (worker) DO UPDATE
SET acknowledged = excluded.acknowledged, beat = excluded.beat
"""


async def upsert_epoch_worker(
    db: Executor, *, worker: UUID, acknowledged: int, lease_s: float
) -> None:
    """A worker is alive, and has noted everything up to a number."""
    await db.execute(UPSERT_EPOCH_WORKER, worker, acknowledged, lease_s)


class WorkerBehind(NamedTuple):
    worker: UUID
    lease_s: float
    beat: int


SELECT_EPOCH_WORKERS_BEHIND = """
SELECT worker, lease_s, beat FROM epoch_workers WHERE acknowledged < $1
"""


async def select_epoch_workers_behind(db: Executor, number: int) -> list[WorkerBehind]:
    """Who has not yet acknowledged a number."""
    return [WorkerBehind(*record) for record in await db.fetch(SELECT_EPOCH_WORKERS_BEHIND, number)]


DELETE_EPOCH_WORKER = """
DELETE FROM epoch_workers WHERE worker = $1 AND beat = $2
"""


async def delete_epoch_worker(db: Executor, *, worker: UUID, beat: int) -> None:
    """Forget a worker whose lease ran out, unless it has beaten meanwhile."""
    await db.execute(DELETE_EPOCH_WORKER, worker, beat)


DELETE_OWN_EPOCH_WORKER = """
DELETE FROM epoch_workers WHERE worker = $1
"""


async def delete_own_epoch_worker(db: Executor, worker: UUID) -> None:
    await db.execute(DELETE_OWN_EPOCH_WORKER, worker)
