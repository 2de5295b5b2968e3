-- name: insert_events :exec
INSERT INTO outbox (type, payload) SELECT @type, unnest(@payloads::jsonb[]);

-- name: lock_waiting_events :many
-- The oldest events that were not relayed; another relay at work takes others.
-- row: Event
SELECT id, created_at, type, payload FROM outbox
WHERE relayed_at IS NULL
ORDER BY id
LIMIT @most
FOR UPDATE SKIP LOCKED;

-- name: update_events_relayed :exec
UPDATE outbox SET relayed_at = now()
WHERE id = ANY(@ids::uuid[]) AND created_at >= @oldest;

-- name: select_log :one
-- row: Log
-- exactly one row
SELECT id, place, position FROM outbox_log;

-- name: update_log_reached :execrows
-- It has come so far, if it still is the one that events go to. The row stays locked until commit.
UPDATE outbox_log SET position = @position WHERE id = @id;

-- name: update_log_begun :exec
UPDATE outbox_log SET id = uuidv7(), place = @place, position = '' WHERE singleton;

-- name: update_events_waiting_again :execrows
-- Everything of the last seven days is to be relayed once more; consumers remember no more than that.
UPDATE outbox SET relayed_at = NULL
WHERE relayed_at IS NOT NULL AND created_at > now() - interval '7 days';

-- name: select_events_waiting :one
-- row: Waiting
-- exactly one row
-- not null: oldest_s
SELECT count(*) AS events, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s
FROM outbox WHERE relayed_at IS NULL;
