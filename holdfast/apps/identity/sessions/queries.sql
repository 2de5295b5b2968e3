-- name: insert_session :one
-- A new session and the first refresh token of its family, and a mail if the device is a new one. No
-- row when the account is banned or gone, or its password another than was checked: whoever does
-- that has the lock that this one waits for.
WITH owner AS (
  SELECT u.id, u.email, u.language, u.email_verified_at FROM users u
  WHERE u.id = @user_id AND u.banned_at IS NULL FOR KEY SHARE
), password AS (
  SELECT c.user_id FROM owner JOIN credentials c ON c.user_id = owner.id
  WHERE c.changed_at = sqlc.narg(password_changed_at)::timestamptz FOR SHARE OF c
), session AS (
  INSERT INTO sessions (user_id, expires_at, ip, device, amr, authenticated_at)
  SELECT owner.id, @expires_at::timestamptz, @ip::inet, @device::text, @amr::text[],
    @authenticated_at::timestamptz
  FROM owner
  WHERE sqlc.narg(password_changed_at)::timestamptz IS NULL OR EXISTS (SELECT FROM password)
  RETURNING id, expires_at, ip, device
), token AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT @hash::bytea, session.expires_at, session.id FROM session
), notice AS (
  INSERT INTO mails (template, recipient, language, facts)
  SELECT 'new_device', owner.email, owner.language,
    jsonb_build_object('device', session.device, 'ip', host(session.ip))
  FROM owner CROSS JOIN session
  WHERE @new_device::boolean AND owner.email_verified_at IS NOT NULL
)
SELECT id FROM session;

-- name: insert_client_session :one
-- A session in which a client acts for a user, or for itself. No row when the account is banned or
-- gone: whoever does that has the lock that this one waits for.
WITH owner AS (
  SELECT u.id FROM users u WHERE u.id = @user_id AND u.banned_at IS NULL FOR SHARE
), session AS (
  INSERT INTO sessions (
    id, user_id, expires_at, ip, device, amr, authenticated_at, client_id, scopes
  )
  SELECT coalesce(sqlc.narg(session_id)::uuid, uuidv7()), owner.id, @expires_at::timestamptz,
    @ip::inet, @device::text, @amr::text[], @authenticated_at::timestamptz,
    @client_id::text, @scopes::text[]
  FROM owner
  RETURNING id, expires_at
), token AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT @hash::bytea, session.expires_at, session.id FROM session
)
SELECT id FROM session;

-- name: update_refresh_tokens_used :many
-- Compare and swap, for many at once: a token that is live, in a session that is open, is used up,
-- and its successor is made in the same statement. There is no join that could be planned as a scan
-- of all tokens: each is looked up in the index of its own partition. A token is its client's alone.
-- row: Rotated
-- nullable items: clients
WITH used AS (
  UPDATE refresh_tokens t SET used_at = now()
  WHERE t.hash = ANY(@hashes::bytea[]) AND t.expires_at = ANY(@expiries::timestamptz[])
    AND t.used_at IS NULL AND t.expires_at > now()
    AND (
      SELECT s.ended_at IS NULL
        AND s.client_id IS NOT DISTINCT FROM
          (@clients::text[])[array_position(@hashes::bytea[], t.hash)]
      FROM sessions s
      WHERE s.id = t.session_id AND s.expires_at = t.expires_at
    )
  RETURNING t.hash, t.expires_at, t.session_id
), successors AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT (@successors::bytea[])[array_position(@hashes::bytea[], used.hash)],
    used.expires_at, used.session_id
  FROM used
)
SELECT used.hash, used.session_id, session.authenticated_at, session.amr, session.scopes
FROM used CROSS JOIN LATERAL (
  SELECT s.authenticated_at, s.amr, s.scopes FROM sessions s
  WHERE s.id = used.session_id AND s.expires_at = used.expires_at
  LIMIT 1  -- of one: so that it is looked up for each, and not joined
) session;

-- name: select_live_refresh_token :one
-- The look-up alone, answered from the index of live tokens.
SELECT session_id FROM refresh_tokens
WHERE hash = @hash AND expires_at = @expires_at AND used_at IS NULL;

-- name: select_used_refresh_token :one
-- row: UsedToken
SELECT t.session_id, s.authenticated_at, s.amr, s.scopes,
  (now() - t.used_at)::interval AS used_for,
  (s.ended_at IS NULL AND s.expires_at > now())::boolean AS session_open
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id AND s.expires_at = t.expires_at
WHERE t.hash = @hash AND t.expires_at = @expires_at AND t.used_at IS NOT NULL
  AND s.client_id IS NOT DISTINCT FROM sqlc.narg(client_id)::text;

-- name: update_sessions_ended :many
-- End sessions by id, in one round trip however many; only those that were open are answered.
-- row: EndedSession
UPDATE sessions SET ended_at = now()
WHERE id = ANY(@sessions::uuid[]) AND ended_at IS NULL AND expires_at > now()
RETURNING id, user_id;

-- name: update_user_sessions_ended :many
-- All of a user's, but for one if that is wanted.
-- row: EndedSession
UPDATE sessions SET ended_at = now()
WHERE user_id = @user_id AND ended_at IS NULL AND expires_at > now()
  AND id IS DISTINCT FROM sqlc.narg(but)::uuid
RETURNING id, user_id;

-- name: update_client_sessions_ended :many
-- A client's sessions: all, or one user's, or those whose scopes go beyond what it keeps.
-- row: EndedSession
UPDATE sessions SET ended_at = now()
WHERE client_id = @client_id AND ended_at IS NULL AND expires_at > now()
  AND (sqlc.narg(user_id)::uuid IS NULL OR user_id = sqlc.narg(user_id))
  AND (sqlc.narg(kept_scopes)::text[] IS NULL OR NOT scopes <@ sqlc.narg(kept_scopes))
RETURNING id, user_id;

-- name: lock_session_owner :exec
-- No session begins for a client while its user's sessions end: it would be missed.
SELECT FROM users WHERE id = @user_id FOR NO KEY UPDATE;

-- name: update_session_authenticated :one
-- Its user has proved once more to be who they are.
-- row: Authenticated
UPDATE sessions SET authenticated_at = now(),
  amr = array(SELECT DISTINCT unnest(amr || @amr::text[]) ORDER BY 1)
WHERE id = @session_id AND ended_at IS NULL AND expires_at > now()
RETURNING id AS session_id, authenticated_at, amr, scopes, client_id;

-- name: select_open_sessions :many
-- A page of one user's open sessions, newest first.
-- row: Session
SELECT id, client_id, device, ip, created_at, last_seen_at FROM sessions
WHERE user_id = @user_id AND ended_at IS NULL AND expires_at > now()
  AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
ORDER BY id DESC
LIMIT @most;

-- name: select_open_session_owner :one
SELECT user_id FROM sessions
WHERE id = @session_id AND ended_at IS NULL AND expires_at > now();

-- name: select_open_session :one
-- What the tokens of a session say of it, while it is open.
-- row: OpenSession
-- nullable: scopes
SELECT id AS session_id, user_id, authenticated_at, amr, scopes FROM sessions
WHERE id = @session_id AND ended_at IS NULL AND expires_at > now();
