-- name: insert_user :one
-- No row when the address is taken.
INSERT INTO users (email, name, email_verified_at)
VALUES (@email, sqlc.narg(name), CASE WHEN @verified::boolean THEN now() END)
ON CONFLICT (email) DO NOTHING
RETURNING id;

-- name: insert_credentials :exec
INSERT INTO credentials (user_id, password_hash) VALUES (@user_id, @password_hash);

-- name: insert_account :exec
-- An account, and a mail to verify its address; or, if the address is taken, a mail to its owner.
WITH person AS (
  INSERT INTO users (email, name, language) VALUES (@email, sqlc.narg(name), @language)
  ON CONFLICT (email) DO NOTHING
  RETURNING id
), password AS (
  INSERT INTO credentials (user_id, password_hash) SELECT id, @password_hash::text FROM person
), membership AS (
  INSERT INTO user_roles (user_id, role) SELECT id, @role::text FROM person
), event AS (
  INSERT INTO outbox (type, payload)
  SELECT 'user.registered', jsonb_build_object('user_id', id, 'email', @email::text) FROM person
)
INSERT INTO mails (template, recipient, language, facts)
SELECT
  CASE WHEN EXISTS (SELECT FROM person) THEN 'verify_email' ELSE 'register_repeated' END,
  @email, @language, '{}';

-- name: lock_person :one
-- The account as it is now, until the transaction ends; no account that is banned.
-- row: Person
SELECT email::text AS email, language, (email_verified_at IS NOT NULL)::boolean AS verified
FROM users WHERE id = @user_id AND NOT service AND banned_at IS NULL
FOR UPDATE;

-- name: update_user :exec
-- The name, if it is to be changed, and the language, if there is a new one.
UPDATE users SET
  name = CASE WHEN @renamed::boolean THEN sqlc.narg(name) ELSE name END,
  language = coalesce(sqlc.narg(language)::text, language)
WHERE id = @user_id;

-- name: select_password_hash :one
SELECT password_hash FROM credentials WHERE user_id = @user_id;

-- name: update_password_hash :execrows
-- Only if it is still the one that was checked.
UPDATE credentials SET password_hash = @password_hash, changed_at = now()
WHERE user_id = @user_id AND password_hash = @checked_hash;


-- name: select_way_in :one
-- Whether there is a password, a passkey or a link by which the user can sign in.
-- exactly one row
SELECT (
  EXISTS (SELECT FROM credentials WHERE credentials.user_id = @user_id)
  OR EXISTS (SELECT FROM passkeys WHERE passkeys.user_id = @user_id)
  OR EXISTS (SELECT FROM oauth_accounts WHERE oauth_accounts.user_id = @user_id)
)::boolean AS there_is;
