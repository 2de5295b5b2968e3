-- name: select_link_owner :one
SELECT user_id FROM oauth_accounts WHERE provider = @provider AND provider_id = @provider_id;

-- name: lock_account :one
-- The account with this id or this address, as the decision about a link needs it; it cannot change
-- until the link is made.
-- row: Account
SELECT u.id AS user_id, u.email::text AS email, u.language,
  (u.email_verified_at IS NOT NULL)::boolean AS verified,
  (u.banned_at IS NOT NULL)::boolean AS banned,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor,
  EXISTS (
    SELECT FROM oauth_accounts o WHERE o.user_id = u.id AND o.provider = @provider
  )::boolean AS linked
FROM users u
WHERE NOT u.service AND (u.id = sqlc.narg(user_id) OR u.email = sqlc.narg(email))
FOR NO KEY UPDATE OF u;

-- name: insert_verified_user :one
-- An account without a password, whose address its provider has verified. No row: it is taken.
INSERT INTO users (email, language, email_verified_at) VALUES (@email, @language, now())
ON CONFLICT (email) DO NOTHING
RETURNING id;

-- name: insert_link :execrows
INSERT INTO oauth_accounts (provider, provider_id, user_id, email)
VALUES (@provider, @provider_id, @user_id, sqlc.narg(email))
ON CONFLICT DO NOTHING;

-- name: update_link_email :exec
-- As the provider tells it today.
UPDATE oauth_accounts SET email = sqlc.narg(email)
WHERE provider = @provider AND provider_id = @provider_id
  AND email IS DISTINCT FROM sqlc.narg(email);

-- name: select_links :many
-- row: LinkRow
SELECT provider, email, linked_at FROM oauth_accounts
WHERE user_id = @user_id
ORDER BY provider;

-- name: delete_link :execrows
DELETE FROM oauth_accounts WHERE user_id = @user_id AND provider = @provider;

-- name: select_sessions_begun_by :many
-- The user's open sessions in whose proof a provider had a part.
SELECT id FROM sessions
WHERE user_id = @user_id AND @way::text = ANY(amr) AND ended_at IS NULL AND expires_at > now();
