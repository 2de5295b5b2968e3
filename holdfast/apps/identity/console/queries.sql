-- name: select_addresses :many
-- Whose ids these are; no row for an account that is gone, no address for a service.
-- row: Address
SELECT id, email FROM users WHERE id = ANY(@ids::uuid[]);

-- name: select_user_by_address :one
SELECT id FROM users WHERE email = @email;

-- name: select_roles_of :many
SELECT role FROM user_roles WHERE user_id = @user_id ORDER BY role;
