-- name: lock_owner :one
-- Whoever adds or removes a way to sign in does it alone.
-- row: Owner
SELECT email::text AS email, language FROM users
WHERE id = @user_id AND NOT service FOR NO KEY UPDATE;

-- name: select_passkeys_number :one
-- exactly one row
SELECT count(*) AS number FROM passkeys WHERE user_id = @user_id;

-- name: insert_passkey :one
-- No row when the credential is known already, whoever's it is.
-- row: Passkey
INSERT INTO passkeys (credential_id, user_id, name, public_key, sign_count, transports, backed_up)
VALUES (@credential_id, @user_id, @name, @public_key, @sign_count, @transports, @backed_up)
ON CONFLICT (credential_id) DO NOTHING
RETURNING id, name, backed_up, created_at, last_used_at;

-- name: select_passkeys :many
-- row: Passkey
SELECT id, name, backed_up, created_at, last_used_at FROM passkeys
WHERE user_id = @user_id ORDER BY id;

-- name: select_credentials :many
-- What a browser has to know of a user's passkeys.
-- row: Credential
SELECT credential_id, transports FROM passkeys WHERE user_id = @user_id ORDER BY id;

-- name: select_passkey_by_credential :one
-- row: KnownPasskey
SELECT id, user_id, public_key FROM passkeys WHERE credential_id = @credential_id;

-- name: update_passkey_used :execrows
-- A counter must have gone on, unless the authenticator never counts: otherwise somebody has a copy.
UPDATE passkeys SET sign_count = sqlc.arg(sign_count), backed_up = @backed_up, last_used_at = now()
WHERE id = @passkey_id
  AND (sign_count < sqlc.arg(sign_count) OR (sign_count = 0 AND sqlc.arg(sign_count) = 0));

-- name: update_passkey_name :one
-- row: Passkey
UPDATE passkeys SET name = @name WHERE id = @passkey_id AND user_id = @user_id
RETURNING id, name, backed_up, created_at, last_used_at;

-- name: delete_passkey :one
-- Answers its name.
DELETE FROM passkeys WHERE id = @passkey_id AND user_id = @user_id RETURNING name;
