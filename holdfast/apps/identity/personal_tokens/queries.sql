-- name: lock_owner :one
-- Whose tokens are made or ended: one at a time, and neither while the account goes.
-- row: Owner
SELECT email::text AS email, language FROM users
WHERE id = @user_id AND NOT service FOR NO KEY UPDATE;

-- name: insert_token :one
-- No row when there are as many as one may have; those whose time is over do not count.
-- row: PersonalToken
WITH over AS (
  DELETE FROM personal_tokens WHERE user_id = @user_id AND expires_at <= now()
)
INSERT INTO personal_tokens (user_id, name, scopes, expires_at)
SELECT @user_id, @name, sqlc.narg(scopes)::text[], @expires_at
WHERE (
  SELECT count(*) FROM personal_tokens WHERE user_id = @user_id AND expires_at > now()
) < @most::integer
RETURNING id, name, scopes, created_at, expires_at, last_used_at;

-- name: select_tokens :many
-- A page of one user's tokens, newest first.
-- row: PersonalToken
SELECT id, name, scopes, created_at, expires_at, last_used_at FROM personal_tokens
WHERE user_id = @user_id AND expires_at > now()
  AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
ORDER BY id DESC
LIMIT @most;

-- name: select_token_ids :many
SELECT id FROM personal_tokens WHERE user_id = @user_id;

-- name: delete_token :one
-- The name of what is gone; no row when it is not this user's.
DELETE FROM personal_tokens WHERE id = @token_id AND user_id = @user_id RETURNING name;

-- name: delete_user_tokens :many
DELETE FROM personal_tokens WHERE user_id = @user_id RETURNING id;
