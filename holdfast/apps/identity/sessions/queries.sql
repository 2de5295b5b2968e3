-- name: insert_session :one
-- A new session and the first refresh token of its family.
-- exactly one row
WITH session AS (
  INSERT INTO sessions (user_id, expires_at, ip, device)
  VALUES (@user_id, @expires_at, @ip, @device)
  RETURNING id, expires_at
), token AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT @hash::bytea, session.expires_at, session.id FROM session
)
SELECT id FROM session;

-- name: update_refresh_tokens_used :many
-- Compare and swap, for many at once: a token that is live, in a session that is open, is used up,
-- and its successor is made in the same statement. There is no join that could be planned as a scan
-- of all tokens: each is looked up in the index of its own partition.
-- row: Rotated
-- not null: since
WITH used AS (
  UPDATE refresh_tokens t SET used_at = now()
  WHERE t.hash = ANY(@hashes::bytea[]) AND t.expires_at = ANY(@expiries::timestamptz[])
    AND t.used_at IS NULL AND t.expires_at > now()
    AND (
      SELECT s.ended_at IS NULL FROM sessions s
      WHERE s.id = t.session_id AND s.expires_at = t.expires_at
    )
  RETURNING t.hash, t.expires_at, t.session_id, (
    SELECT s.created_at FROM sessions s
    WHERE s.id = t.session_id AND s.expires_at = t.expires_at
  ) AS since
), successors AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT (@successors::bytea[])[array_position(@hashes::bytea[], used.hash)],
    used.expires_at, used.session_id
  FROM used
)
SELECT hash, session_id, since FROM used;

-- name: select_live_refresh_token :one
-- The look-up alone, answered from the index of live tokens.
SELECT session_id FROM refresh_tokens
WHERE hash = @hash AND expires_at = @expires_at AND used_at IS NULL;

-- name: select_used_refresh_token :one
-- row: UsedToken
SELECT t.session_id, s.created_at AS since,
  (now() - t.used_at)::interval AS used_for,
  (s.ended_at IS NULL AND s.expires_at > now())::boolean AS session_open
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id AND s.expires_at = t.expires_at
WHERE t.hash = @hash AND t.expires_at = @expires_at AND t.used_at IS NOT NULL;

-- name: update_sessions_ended :many
-- End sessions by id, in one round trip however many; only those that were open are answered.
-- row: EndedSession
UPDATE sessions SET ended_at = now()
WHERE id = ANY(@sessions::uuid[]) AND ended_at IS NULL AND expires_at > now()
RETURNING id, user_id;

-- name: update_user_sessions_ended :many
-- row: EndedSession
UPDATE sessions SET ended_at = now()
WHERE user_id = @user_id AND ended_at IS NULL AND expires_at > now()
RETURNING id, user_id;

-- name: select_open_sessions :many
-- A page of one user's open sessions, newest first.
-- row: Session
SELECT id, device, ip, created_at, last_seen_at FROM sessions
WHERE user_id = @user_id AND ended_at IS NULL AND expires_at > now()
  AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
ORDER BY id DESC
LIMIT @most;

-- name: select_open_session_owner :one
SELECT user_id FROM sessions
WHERE id = @session_id AND ended_at IS NULL AND expires_at > now();
