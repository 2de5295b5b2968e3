-- A session and all refresh tokens of its family end at the same, absolute time. Both tables are
-- partitioned by it, and a refresh token carries it, so a look-up touches one partition.
CREATE TABLE sessions (
  id uuid NOT NULL DEFAULT uuidv7(),
  expires_at timestamptz NOT NULL,
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_seen_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  ip inet NOT NULL,
  device text NOT NULL,
  PRIMARY KEY (id, expires_at)
) PARTITION BY RANGE (expires_at) ;
CREATE INDEX sessions_open ON sessions (user_id, id) WHERE ended_at IS NULL;

CREATE TABLE refresh_tokens (
  hash bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  session_id uuid NOT NULL,
  used_at timestamptz
) PARTITION BY RANGE (expires_at);

-- Each row is in one index: the small one that every refresh reads, or the one that knows reuse.
CREATE UNIQUE INDEX refresh_tokens_live ON refresh_tokens (hash, expires_at)
  INCLUDE (session_id) WHERE used_at IS NULL;
CREATE INDEX refresh_tokens_used ON refresh_tokens (hash, expires_at) WHERE used_at IS NOT NULL;

INSERT INTO partition_plans VALUES
  ('sessions', '7 days', 6, '7 days'),
  ('refresh_tokens', '7 days', 6, '0 days');
