-- What was consumed of other services' streams: how far, which events, and those that could not be applied.
CREATE TABLE stream_positions (
  stream text PRIMARY KEY,
  position text NOT NULL               -- the last entry that was applied; Redis' own id of it
) WITH (fillfactor = 50);

CREATE TABLE inbox (
  event_id uuid NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, seen_at)
) PARTITION BY RANGE (seen_at);

CREATE TABLE set_aside (
  event_id uuid NOT NULL,
  stream text NOT NULL,
  at timestamptz NOT NULL,             -- when it happened
  type text NOT NULL,
  payload bytea NOT NULL,              -- as it came; it may be what is wrong with it
  error text NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  tried_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, since)
) PARTITION BY RANGE (since);
CREATE INDEX set_aside_by_try ON set_aside (stream, tried_at);

-- A relay sends again what is seven days old at most: the inbox must remember for longer.
INSERT INTO partition_plans VALUES
  ('inbox', '1 day', 7, '8 days'),
  ('set_aside', '7 days', 1, '28 days');
SELECT keep_partitions();
