-- name: select_grants :many
-- What each session may do: whose it is, and what their roles permit. Ended sessions are absent.
-- row: SessionGrants
SELECT
  s.id AS session_id,
  u.id AS user_id,
  u.email,
  u.name,
  u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles,
  array(
    SELECT DISTINCT rp.permission
    FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
    WHERE ur.user_id = u.id ORDER BY rp.permission
  )::text[] AS permissions
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = ANY(@sessions::uuid[]) AND s.ended_at IS NULL AND s.expires_at > now();

-- name: update_sessions_seen :exec
-- When sessions were last used; told now and then, many at once.
UPDATE sessions s SET last_seen_at = greatest(s.last_seen_at, seen.at)
FROM (SELECT unnest(@sessions::uuid[]) AS session_id, unnest(@times::timestamptz[]) AS at) seen
WHERE s.id = seen.session_id;
