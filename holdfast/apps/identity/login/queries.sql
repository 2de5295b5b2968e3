-- name: select_credentials :many
-- row: Credentials
SELECT u.email::text AS email, u.id AS user_id, c.password_hash,
  c.changed_at AS password_changed_at,
  (u.banned_at IS NOT NULL)::boolean AS banned, u.ban_reason,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor
FROM users u JOIN credentials c ON c.user_id = u.id
WHERE u.email = ANY(@emails::text[]);

-- name: update_password_rehashed :exec
-- The same password, hashed as new ones are: nothing that rests on it has changed.
UPDATE credentials SET password_hash = @password_hash
WHERE user_id = @user_id AND password_hash = @checked_hash;

-- name: select_person :one
-- Whoever has proved in another way to be this user.
-- row: Person
-- nullable: password_changed_at
SELECT u.email::text AS email, u.id AS user_id, c.changed_at AS password_changed_at,
  (u.banned_at IS NOT NULL)::boolean AS banned, u.ban_reason,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor
FROM users u LEFT JOIN credentials c ON c.user_id = u.id
WHERE u.id = @user_id AND NOT u.service;

-- name: upsert_login_lane :one
-- Take one attempt before the password is checked, as if it had failed. No row: not open yet.
-- After the fifth failure each next attempt waits twice as long, up to a quarter of an hour.
INSERT INTO login_lanes AS lane (account, device, failures, open_at)
VALUES (@account, @device, 1, now())
ON CONFLICT (account, device) DO UPDATE SET
  failures = lane.failures + 1,
  open_at = clock_timestamp() + CASE
    WHEN lane.failures < 4 THEN interval '0'
    ELSE least(2 ^ (lane.failures - 4), 900) * interval '1 second'
  END
WHERE lane.open_at <= clock_timestamp()
RETURNING failures;

-- name: select_login_lane_wait_s :one
-- exactly one row
SELECT coalesce(max(extract(epoch FROM open_at - clock_timestamp())), 0)::float8 AS wait_s
FROM login_lanes WHERE account = @account AND device = @device;

-- name: delete_login_lane :exec
-- The password was right: the failures in a row are over.
DELETE FROM login_lanes WHERE account = @account AND device = @device;

-- name: delete_login_lanes :exec
-- All lanes, known devices' as well: the account begins anew, or is gone.
DELETE FROM login_lanes WHERE account = ANY(@accounts::bytea[]);

-- name: update_login_lane_untaken :exec
-- The attempt was not made after all.
UPDATE login_lanes SET failures = failures - 1, open_at = now()
WHERE account = @account AND device = @device;

-- name: delete_quiet_login_lanes :execrows
DELETE FROM login_lanes WHERE open_at < now() - interval '1 day';
