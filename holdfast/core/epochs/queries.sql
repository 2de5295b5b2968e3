-- name: update_epoch_head :one
-- Take the next number; the row stays locked until commit, so numbers are gapless and in order.
-- exactly one row
UPDATE epoch_head SET number = number + 1 RETURNING number;

-- name: insert_epoch_change :exec
-- Note what the number stands for, and wake every worker that listens.
WITH noted AS (
  INSERT INTO epoch_changes (number, subjects) VALUES (@number, @subjects)
)
SELECT pg_notify(current_schema() || '_epochs', CAST(@number::bigint AS text));

-- name: select_epoch_head :one
-- row: EpochHead
-- exactly one row
SELECT number, lineage FROM epoch_head;

-- name: select_epoch_changes :many
-- All that has changed after a number, and the head: always one row at least. One snapshot, so
-- whoever reads a change sees all before it.
-- row: EpochChange
SELECT head.number AS head, changes.number, changes.subjects
FROM epoch_head head
LEFT JOIN epoch_changes changes ON changes.number > @after
ORDER BY changes.number;

-- name: upsert_epoch_worker :exec
-- A worker is alive, and has noted everything up to a number.
INSERT INTO epoch_workers (worker, acknowledged, lease_s)
VALUES (@worker, @acknowledged, @lease_s)
ON CONFLICT (worker) DO UPDATE
SET acknowledged = excluded.acknowledged, beat = excluded.beat;

-- name: select_epoch_workers_behind :many
-- Who has not yet acknowledged a number.
-- row: WorkerBehind
SELECT worker, lease_s, beat FROM epoch_workers WHERE acknowledged < @number;

-- name: delete_epoch_worker :exec
-- Forget a worker whose lease ran out, unless it has beaten meanwhile.
DELETE FROM epoch_workers WHERE worker = @worker AND beat = @beat;

-- name: delete_own_epoch_worker :exec
DELETE FROM epoch_workers WHERE worker = @worker;
