-- name: select_roles :many
-- row: Role
SELECT r.name, r.description, r.built_in,
  array(
    SELECT rp.permission FROM role_permissions rp WHERE rp.role = r.name ORDER BY rp.permission
  )::text[] AS permissions
FROM roles r
WHERE r.name > @after
ORDER BY r.name
LIMIT @most;

-- name: select_role :one
-- row: Role
SELECT r.name, r.description, r.built_in,
  array(
    SELECT rp.permission FROM role_permissions rp WHERE rp.role = r.name ORDER BY rp.permission
  )::text[] AS permissions
FROM roles r
WHERE r.name = @role;

-- name: lock_role :one
-- The role, unchanged until commit.
SELECT built_in FROM roles WHERE name = @role FOR UPDATE;

-- name: insert_role :execrows
INSERT INTO roles (name, description) VALUES (@role, @description) ON CONFLICT DO NOTHING;

-- name: update_role_description :execrows
UPDATE roles SET description = @description WHERE name = @role;

-- name: delete_role :execrows
DELETE FROM roles WHERE name = @role AND NOT built_in;

-- name: select_known_permissions :many
SELECT name FROM permissions WHERE name = ANY(@permissions::text[]);

-- name: insert_role_permissions :execrows
INSERT INTO role_permissions (role, permission)
SELECT @role, unnest(@permissions::text[])
ON CONFLICT DO NOTHING;

-- name: delete_role_permission :execrows
DELETE FROM role_permissions WHERE role = @role AND permission = @permission;

-- name: select_permissions :many
-- row: Permission
SELECT name, description FROM permissions WHERE name > @after ORDER BY name LIMIT @most;

-- name: insert_permission :execrows
INSERT INTO permissions (name, description) VALUES (@permission, @description)
ON CONFLICT DO NOTHING;

-- name: lock_user :one
-- The user, present until commit.
SELECT id FROM users WHERE id = @user_id FOR KEY SHARE;

-- name: insert_user_role :execrows
INSERT INTO user_roles (user_id, role) VALUES (@user_id, @role) ON CONFLICT DO NOTHING;

-- name: delete_user_role :execrows
DELETE FROM user_roles WHERE user_id = @user_id AND role = @role;

-- name: select_role_permissions :many
SELECT permission FROM role_permissions WHERE role = @role ORDER BY permission;

-- name: select_user_permissions :many
-- What a user's roles permit, also while the account is banned.
SELECT DISTINCT rp.permission
FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
WHERE ur.user_id = @user_id
ORDER BY rp.permission;

-- name: select_own_permissions :many
-- What whoever is calling may do at this moment, by the tables and not by any cache.
SELECT DISTINCT rp.permission
FROM users u
  JOIN user_roles ur ON ur.user_id = u.id
  JOIN role_permissions rp ON rp.role = ur.role
WHERE u.id = @user_id AND u.banned_at IS NULL;

-- name: select_is_last_admin :one
-- Whether nobody else is left who could give roles: a person, and not banned.
-- exactly one row
SELECT (
  EXISTS (SELECT FROM user_roles ur WHERE ur.role = 'admin' AND ur.user_id = @user_id)
  AND NOT EXISTS (
    SELECT FROM user_roles ur JOIN users u ON u.id = ur.user_id
    WHERE ur.role = 'admin' AND u.id <> @user_id AND u.banned_at IS NULL AND NOT u.service
  )
)::boolean AS is_last;
