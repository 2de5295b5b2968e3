-- name: select_belongings :one
-- What we hold of a user, without what would let anybody in: each column a JSON value.
-- row: Belongings
-- not null: profile, roles, second_factor, passkeys, linked_accounts, personal_tokens, consents
SELECT
  jsonb_build_object(
    'id', u.id, 'email', u.email, 'email_verified_at', u.email_verified_at, 'name', u.name,
    'language', u.language, 'created_at', u.created_at, 'banned_at', u.banned_at,
    'ban_reason', u.ban_reason,
    'password_changed_at', (SELECT c.changed_at FROM credentials c WHERE c.user_id = u.id)
  ) AS profile,
  (
    SELECT coalesce(jsonb_agg(ur.role ORDER BY ur.role), '[]')
    FROM user_roles ur WHERE ur.user_id = u.id
  ) AS roles,
  jsonb_build_object(
    'app_added_at', (
      SELECT t.confirmed_at FROM totp_secrets t WHERE t.user_id = u.id
    ),
    'recovery_codes_left', (
      SELECT count(*) FROM recovery_codes r WHERE r.user_id = u.id AND r.used_at IS NULL
    )
  ) AS second_factor,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'id', p.id, 'name', p.name, 'created_at', p.created_at, 'last_used_at', p.last_used_at
    ) ORDER BY p.id), '[]')
    FROM passkeys p WHERE p.user_id = u.id
  ) AS passkeys,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'provider', o.provider, 'provider_id', o.provider_id, 'email', o.email,
      'linked_at', o.linked_at
    ) ORDER BY o.provider), '[]')
    FROM oauth_accounts o WHERE o.user_id = u.id
  ) AS linked_accounts,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'id', t.id, 'name', t.name, 'scopes', t.scopes, 'created_at', t.created_at,
      'expires_at', t.expires_at, 'last_used_at', t.last_used_at
    ) ORDER BY t.id), '[]')
    FROM personal_tokens t WHERE t.user_id = u.id
  ) AS personal_tokens,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'client_id', c.client_id, 'scopes', c.scopes, 'given_at', c.given_at
    ) ORDER BY c.client_id), '[]')
    FROM consents c WHERE c.user_id = u.id
  ) AS consents
FROM users u WHERE u.id = @user_id AND NOT u.service;

-- name: select_kept_sessions :many
-- A page of all sessions of a user that are still kept, open or not, newest first.
-- row: KeptSession
SELECT id, client_id, scopes, device, ip, amr, created_at, last_seen_at, expires_at, ended_at
FROM sessions
WHERE user_id = @user_id AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
ORDER BY id DESC
LIMIT @most;

-- name: lock_person :one
-- The account of a person, as it goes; no session or token of it is made meanwhile.
-- row: Leaving
SELECT email::text AS email, language FROM users WHERE id = @user_id AND NOT service FOR UPDATE;

-- name: delete_user :exec
-- What is the user's goes with them: every table that names them says so.
DELETE FROM users WHERE id = @user_id;
