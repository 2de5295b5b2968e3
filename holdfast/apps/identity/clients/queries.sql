-- name: select_clients :many
-- row: Client
SELECT id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id, created_at
FROM clients
WHERE id > @after
ORDER BY id
LIMIT @most;

-- name: select_client :one
-- row: Client
SELECT id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id, created_at
FROM clients
WHERE id = @client_id;

-- name: lock_client :one
-- The client, unchanged until commit.
-- row: Client
SELECT id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id, created_at
FROM clients
WHERE id = @client_id FOR UPDATE;

-- name: insert_client :one
-- exactly one row
-- row: Client
INSERT INTO clients
  (id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id)
VALUES (
  @client_id, @name, sqlc.narg(secret_hash), @redirect_uris, @logout_uris, @scopes, @trusted,
  sqlc.narg(service_id)
)
RETURNING id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id,
  created_at;

-- name: update_client :one
-- What is NULL stays as it is.
-- exactly one row
-- row: Client
UPDATE clients SET
  name = coalesce(sqlc.narg(name), name),
  redirect_uris = coalesce(sqlc.narg(redirect_uris)::text[], redirect_uris),
  logout_uris = coalesce(sqlc.narg(logout_uris)::text[], logout_uris),
  scopes = coalesce(sqlc.narg(scopes)::text[], scopes),
  trusted = coalesce(sqlc.narg(trusted), trusted)
WHERE id = @client_id
RETURNING id, name, secret_hash, redirect_uris, logout_uris, scopes, trusted, service_id,
  created_at;

-- name: update_client_secret :exec
UPDATE clients SET secret_hash = @secret_hash WHERE id = @client_id;

-- name: delete_client :exec
-- With its users' consents.
DELETE FROM clients WHERE id = @client_id;

-- name: insert_service_user :one
-- exactly one row
INSERT INTO users (service, name) VALUES (true, @name) RETURNING id;

-- name: update_service_user_name :exec
UPDATE users SET name = @name WHERE id = @user_id AND service;

-- name: delete_service_user :exec
DELETE FROM users WHERE id = @user_id AND service;
