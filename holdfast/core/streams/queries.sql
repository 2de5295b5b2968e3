-- name: select_position :one
SELECT position FROM stream_positions WHERE stream = @stream;

-- name: upsert_position :execrows
-- Go on to an entry, from the one that was read last. The row stays locked until commit; whoever
-- comes second changes nothing.
INSERT INTO stream_positions AS known (stream, position) VALUES (@stream, @reached)
ON CONFLICT (stream) DO UPDATE SET position = excluded.position WHERE known.position = @after;

-- name: select_events_seen :many
-- Those of these that were seen. One by one, and the first in the index's order: the planner must not read
-- today's partition whole because it knows nothing of it yet.
-- not null: id
SELECT asked.id FROM (SELECT unnest(@ids::uuid[]) AS id) AS asked
CROSS JOIN LATERAL (SELECT FROM inbox WHERE event_id = asked.id ORDER BY seen_at LIMIT 1) AS seen;

-- name: insert_events_seen :exec
INSERT INTO inbox (event_id) SELECT unnest(@ids::uuid[]);

-- name: insert_set_aside :exec
INSERT INTO set_aside (event_id, stream, at, type, payload, error)
VALUES (@event_id, @stream, @at, @type, @payload, @error);

-- name: select_set_aside :many
-- Those whose last try is longest ago, but not within the last moments.
-- row: Event
SELECT event_id AS id, at, type, payload FROM set_aside
WHERE stream = @stream AND tried_at < now() - @rest::interval
ORDER BY tried_at
LIMIT @most;

-- name: delete_set_aside :execrows
DELETE FROM set_aside WHERE event_id = @event_id;

-- name: update_set_aside_tried :exec
UPDATE set_aside SET tried_at = now(), error = @error WHERE event_id = @event_id;

-- name: select_set_aside_count :one
-- exactly one row
SELECT count(*) FROM set_aside WHERE stream = @stream;
