-- name: upsert_totp_secret :execrows
-- A new secret, in place of one that was never confirmed. No row: there is a confirmed one.
INSERT INTO totp_secrets AS t (user_id, sealed) VALUES (@user_id, @sealed)
ON CONFLICT (user_id) DO UPDATE SET
  sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0
WHERE t.confirmed_at IS NULL;

-- name: select_totp_secret :one
-- row: TotpSecret
SELECT sealed, (confirmed_at IS NOT NULL)::boolean AS confirmed FROM totp_secrets
WHERE user_id = @user_id;

-- name: update_totp_confirmed :one
-- Only the secret whose code was checked, and once.
-- row: Owner
-- not null: email
UPDATE totp_secrets t SET confirmed_at = now(), last_step = @step
FROM users u
WHERE t.user_id = @user_id AND t.sealed = @sealed AND t.confirmed_at IS NULL AND u.id = t.user_id
RETURNING u.email, u.language;

-- name: update_totp_step_used :execrows
-- Use a step up, and all before it. Of many at the same moment one gets the row.
UPDATE totp_secrets SET last_step = sqlc.arg(step)
WHERE user_id = @user_id AND sealed = @sealed AND last_step < sqlc.arg(step);

-- name: lock_confirmed_totp :one
-- If there is one: nobody else changes the account's recovery codes until commit.
SELECT user_id FROM totp_secrets
WHERE user_id = @user_id AND confirmed_at IS NOT NULL
FOR UPDATE;

-- name: delete_totp_secret :one
-- row: RemovedTotp
-- not null: email
DELETE FROM totp_secrets t USING users u
WHERE t.user_id = @user_id AND u.id = t.user_id
RETURNING u.email, u.language, (t.confirmed_at IS NOT NULL)::boolean AS confirmed;

-- name: insert_recovery_codes :exec
INSERT INTO recovery_codes (user_id, hash) SELECT @user_id, unnest(@hashes::bytea[]);

-- name: update_recovery_code_used :one
-- Use a code up, once: of many at the same moment one gets the row. It says how many are left.
-- row: UsedRecoveryCode
-- not null: email
UPDATE recovery_codes c SET used_at = now()
FROM users u
WHERE c.user_id = @user_id AND c.hash = @hash AND c.used_at IS NULL AND u.id = c.user_id
RETURNING u.email, u.language, (
  SELECT count(*) FROM recovery_codes o
  WHERE o.user_id = c.user_id AND o.hash <> c.hash AND o.used_at IS NULL
)::integer AS codes_left;

-- name: delete_recovery_codes :exec
DELETE FROM recovery_codes WHERE user_id = @user_id;

-- name: select_factors :one
-- By what this user can prove to be who they are.
-- exactly one row
-- row: Factors
SELECT
  EXISTS (SELECT FROM credentials c WHERE c.user_id = @user_id)::boolean AS password,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = @user_id AND t.confirmed_at IS NOT NULL
  )::boolean AS totp,
  (
    SELECT count(*) FROM recovery_codes r WHERE r.user_id = @user_id AND r.used_at IS NULL
  )::integer AS recovery_codes_left,
  (SELECT count(*) FROM passkeys p WHERE p.user_id = @user_id)::integer AS passkeys;
