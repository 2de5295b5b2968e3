-- name: select_users :many
-- A page of accounts, newest first; `search` matches the beginning of the address.
-- row: User
SELECT u.id, u.email::text AS email, u.name, u.created_at,
  (u.email_verified_at IS NOT NULL)::boolean AS email_verified,
  (u.banned_at IS NOT NULL)::boolean AS banned,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE NOT u.service AND (sqlc.narg(before)::uuid IS NULL OR u.id < sqlc.narg(before))
  AND starts_with(u.email, @search::text)
  AND (sqlc.narg(banned)::boolean IS NULL OR (u.banned_at IS NOT NULL) = sqlc.narg(banned))
  AND (sqlc.narg(role)::text IS NULL OR EXISTS (
    SELECT FROM user_roles ur WHERE ur.user_id = u.id AND ur.role = sqlc.narg(role)
  ))
ORDER BY u.id DESC
LIMIT @most;

-- name: select_user :one
-- row: WholeUser
SELECT u.id, u.email::text AS email, u.name, u.created_at,
  (u.email_verified_at IS NOT NULL)::boolean AS email_verified,
  (u.banned_at IS NOT NULL)::boolean AS banned, u.banned_at, u.ban_reason,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles,
  array(
    SELECT DISTINCT rp.permission
    FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
    WHERE ur.user_id = u.id ORDER BY rp.permission
  )::text[] AS permissions
FROM users u
WHERE u.id = @user_id AND NOT u.service;

-- name: lock_account :one
-- The account, unchanged until commit; no session of it begins meanwhile. A service has no address.
-- row: LockedAccount
SELECT id, email, (banned_at IS NOT NULL)::boolean AS banned FROM users
WHERE id = @user_id FOR UPDATE;

-- name: update_user_banned :exec
UPDATE users SET banned_at = coalesce(banned_at, now()), ban_reason = sqlc.narg(reason)
WHERE id = @user_id;

-- name: update_user_unbanned :exec
UPDATE users SET banned_at = NULL, ban_reason = NULL WHERE id = @user_id;
