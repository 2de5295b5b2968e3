-- name: insert_logins_after :execrows
-- Append to the chain in one statement, if it still ends where this worker last saw it; else nothing.
-- nullable items: user_ids
WITH chain AS (
  UPDATE login_chains SET length = length + cardinality(@positions::bigint[]), head = @head
  WHERE period = date_bin('28 days', now(), '2000-01-03 00:00+00') AND head = @seen_head
  RETURNING period
)
INSERT INTO login_history
  (period, position, at, account, user_id, ip, device, outcome, digest)
SELECT chain.period, unnest(@positions::bigint[]), @at, unnest(@accounts::bytea[]),
  unnest(@user_ids::uuid[]), unnest(@ips::inet[]), unnest(@devices::text[]),
  unnest(@outcomes::text[]), unnest(@digests::bytea[])
FROM chain;

-- name: upsert_login_chain :one
-- The chain of this period, locked until commit; a new one begins where the last one ended.
-- exactly one row
-- row: Chain
INSERT INTO login_chains AS chain (period, length, origin, head)
SELECT date_bin('28 days', now(), '2000-01-03 00:00+00'), 0, last.head, last.head
FROM (
  SELECT coalesce(
    (SELECT c.head FROM login_chains c ORDER BY c.period DESC LIMIT 1), ''::bytea
  ) AS head
) last
ON CONFLICT (period) DO UPDATE SET length = chain.length
RETURNING period, length, head, clock_timestamp()::timestamptz AS at;

-- name: insert_logins :exec
-- nullable items: user_ids
INSERT INTO login_history
  (period, position, at, account, user_id, ip, device, outcome, digest)
SELECT @period, unnest(@positions::bigint[]), @at, unnest(@accounts::bytea[]),
  unnest(@user_ids::uuid[]), unnest(@ips::inet[]), unnest(@devices::text[]),
  unnest(@outcomes::text[]), unnest(@digests::bytea[]);

-- name: update_login_chain :exec
UPDATE login_chains SET length = @length, head = @head WHERE period = @period;

-- name: select_logins :many
-- A page of one user's attempts, newest first.
-- row: Login
SELECT period, position, at, account, user_id, ip, device, outcome, digest
FROM login_history
WHERE user_id = @user_id
  AND (period, position) < (@before_period::timestamptz, @before_position::bigint)
ORDER BY period DESC, position DESC
LIMIT @most;

-- name: select_login_chains :many
-- Every chain there ever was; `kept` says whether its rows are still here.
-- row: WholeChain
SELECT period, length, origin, head,
  (to_regclass(
    'login_history' || to_char(period AT TIME ZONE 'UTC', '_YYYYMMDD')
  ) IS NOT NULL)::boolean AS kept
FROM login_chains ORDER BY period;

-- name: select_chained_logins :many
-- A stretch of one chain, in order.
-- row: Login
SELECT period, position, at, account, user_id, ip, device, outcome, digest
FROM login_history
WHERE period = @period AND position > @after
ORDER BY position
LIMIT @most;
