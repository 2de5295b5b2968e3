-- name: insert_user :one
-- No row when the address is taken.
INSERT INTO users (email, name) VALUES (@email, sqlc.narg(name))
ON CONFLICT (email) DO NOTHING
RETURNING id;

-- name: insert_credentials :exec
INSERT INTO credentials (user_id, password_hash) VALUES (@user_id, @password_hash);

-- name: update_user_name :exec
UPDATE users SET name = sqlc.narg(name) WHERE id = @user_id;

-- name: select_password_hash :one
SELECT password_hash FROM credentials WHERE user_id = @user_id;

-- name: update_password_hash :execrows
-- Only if it is still the one that was checked.
UPDATE credentials SET password_hash = @password_hash, changed_at = now()
WHERE user_id = @user_id AND password_hash = @checked_hash;

-- name: select_users :many
-- A page of accounts, newest first; `search` matches the beginning of the address.
-- row: User
SELECT u.id, u.email, u.name, u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE (sqlc.narg(before)::uuid IS NULL OR u.id < sqlc.narg(before))
  AND starts_with(u.email, @search::text)
ORDER BY u.id DESC
LIMIT @most;

-- name: select_user :one
-- row: User
SELECT u.id, u.email, u.name, u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE u.id = @user_id;
