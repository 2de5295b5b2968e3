-- name: lock_queue :exec
-- Whoever adds does so alone: then requests can be seen in the order of their ids, and nobody who came
-- later is decided about first. A worker that was stopped in the middle must not keep the others out.
SELECT
  pg_advisory_xact_lock(hashtext(current_schema() || '.order_requests')),
  set_config('idle_in_transaction_session_timeout', '1s', true),
  set_config('transaction_timeout', '4s', true);

-- name: insert_requests :many
-- The requests as they are now: those that were there under their customer's key, and the new ones, in
-- this order, as long as no more than so many wait. For the others there is nothing.
-- row: Stored
-- nullable: order_id, problem, decided_at
WITH asked AS MATERIALIZED (
  SELECT
    unnest(@ns::integer[]) AS n,
    unnest(@customer_ids::uuid[]) AS customer_id,
    unnest(@keys::text[]) AS key,
    unnest(@digests::bytea[]) AS digest,
    unnest(@items::jsonb[]) AS items
), known AS MATERIALIZED (
  SELECT asked.n, request.*
  FROM asked CROSS JOIN LATERAL (
    SELECT id, digest, state, order_id, problem, requested_at, decided_at FROM order_requests
    WHERE order_requests.customer_id = asked.customer_id AND order_requests.key = asked.key
    LIMIT 1
  ) AS request
), made AS (
  INSERT INTO order_requests (customer_id, key, digest, items, requested_at)
  SELECT customer_id, key, digest, items, statement_timestamp()
  FROM asked WHERE n NOT IN (SELECT n FROM known)
  ORDER BY n
  LIMIT sqlc.arg(most)::bigint - (
    SELECT count(*) FROM (
      SELECT id FROM order_requests WHERE state = 'waiting'
      ORDER BY id LIMIT sqlc.arg(most)::bigint
    ) AS waiting
  )
  RETURNING customer_id, key, id, digest, state, order_id, problem, requested_at, decided_at
)
SELECT n, id, digest, state, order_id, problem, requested_at, decided_at FROM known
UNION ALL
SELECT
  n, made.id, made.digest, made.state, made.order_id, made.problem, made.requested_at,
  made.decided_at
FROM made JOIN asked USING (customer_id, key);

-- name: lock_decisions :one
-- Whether this process is the one that decides. A statement of its own: one that waited for the lock
-- would still see what was there before.
-- exactly one row
-- not null: decides
SELECT pg_try_advisory_xact_lock(
  hashtext(current_schema() || '.order_requests decided')
) AS decides;

-- name: select_requests_waiting :many
-- Who came first, except for those who want one of these offers; each is given as [[offer_id]].
-- row: Waiting
SELECT id, customer_id, key, digest, items, requested_at, tries FROM order_requests
WHERE state = 'waiting' AND next_try_at <= clock_timestamp() AND NOT items @> ANY(@aside::jsonb[])
ORDER BY id
LIMIT @most;

-- name: update_requests_placed :exec
-- Each with the order that has its key.
UPDATE order_requests AS request SET
  state = 'placed',
  order_id = (
    SELECT id FROM orders
    WHERE orders.customer_id = request.customer_id AND orders.key = request.key
  ),
  decided_at = clock_timestamp()
WHERE id = ANY(@ids::uuid[]) AND requested_at >= @oldest AND state = 'waiting';

-- name: update_requests_refused :exec
-- All for the same reason.
UPDATE order_requests SET state = 'refused', problem = @problem, decided_at = clock_timestamp()
WHERE id = ANY(@ids::uuid[]) AND requested_at >= @oldest AND state = 'waiting';

-- name: update_requests_failed :exec
-- They are tried again, later each time; the others need not wait for them.
UPDATE order_requests SET
  tries = tries + 1,
  next_try_at = clock_timestamp() + 2 ^ tries * interval '1 s'
WHERE id = ANY(@ids::uuid[]) AND requested_at >= @oldest AND state = 'waiting';

-- name: select_request :one
-- One's own, and nobody else's.
-- row: Request
-- nullable: order_id, problem, decided_at
SELECT id, state, order_id, problem, requested_at, decided_at FROM order_requests
WHERE id = @request_id AND customer_id = @customer_id LIMIT 1;

-- name: select_requests_decided :many
-- Those of these that are.
-- row: Request
-- nullable: order_id, problem, decided_at
SELECT id, state, order_id, problem, requested_at, decided_at FROM order_requests
WHERE id = ANY(@ids::uuid[]) AND state <> 'waiting';

-- name: select_queue :one
-- How many wait, and how long the oldest of them has.
-- row: Queue
-- exactly one row
-- not null: oldest_s
SELECT
  count(*) AS waiting,
  coalesce(extract(epoch FROM now() - min(requested_at)), 0)::float8 AS oldest_s
FROM order_requests WHERE state = 'waiting';
