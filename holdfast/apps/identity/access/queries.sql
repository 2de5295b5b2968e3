-- name: select_grants :many
-- What each session or personal token may do: whose it is, and what their roles permit, as far as its
-- scopes reach. What has ended is absent, and so is everything of an account that is banned.
-- row: SessionGrants
-- nullable: authenticated_at
SELECT
  s.id AS session_id,
  CASE WHEN NOT u.service THEN s.authenticated_at END AS authenticated_at,
  u.id AS user_id,
  u.email,
  (u.email_verified_at IS NOT NULL)::boolean AS email_verified,
  u.name,
  u.language,
  u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles,
  array(
    SELECT DISTINCT rp.permission
    FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
    WHERE ur.user_id = u.id AND (s.scopes IS NULL OR rp.permission = ANY(s.scopes))
    ORDER BY rp.permission
  )::text[] AS permissions
FROM (
  SELECT id, user_id, scopes, authenticated_at FROM sessions
  WHERE id = ANY(@sessions::uuid[]) AND ended_at IS NULL AND expires_at > now()
  UNION ALL
  SELECT id, user_id, scopes, NULL FROM personal_tokens
  WHERE id = ANY(@sessions::uuid[]) AND expires_at > now()
) s JOIN users u ON u.id = s.user_id
WHERE u.banned_at IS NULL;

-- name: update_sessions_seen :exec
-- When sessions were last used; told now and then, many at once.
WITH seen AS (
  SELECT unnest(@sessions::uuid[]) AS id, unnest(@times::timestamptz[]) AS at
), tokens AS (
  UPDATE personal_tokens t SET last_used_at = greatest(t.last_used_at, seen.at)
  FROM seen WHERE t.id = seen.id
)
UPDATE sessions s SET last_seen_at = greatest(s.last_seen_at, seen.at)
FROM seen WHERE s.id = seen.id;
