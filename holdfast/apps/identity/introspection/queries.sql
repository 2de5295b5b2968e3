-- name: select_refresh_token :one
-- A refresh token that is live or used, in a session that is open.
-- row: RefreshToken
SELECT t.session_id, t.expires_at, s.client_id, s.scopes, (t.used_at IS NULL)::boolean AS live
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id AND s.expires_at = t.expires_at
WHERE t.hash = @hash AND t.expires_at = @expires_at
  AND s.ended_at IS NULL AND s.expires_at > now();
