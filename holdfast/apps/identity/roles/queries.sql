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
-- What a user may do at this moment, by the tables and not by any cache.
SELECT DISTINCT rp.permission
FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
WHERE ur.user_id = @user_id;

-- name: select_admins_left :one
-- How many others could still give roles.
-- exactly one row
SELECT count(*) AS others FROM user_roles WHERE role = 'admin' AND user_id <> @user_id;
