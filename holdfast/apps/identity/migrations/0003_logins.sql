-- Every attempt to sign in, in chains: each row's digest covers the row before it. A chain is as
-- long as a partition; its head stays when the partition has gone, and begins the next chain.
CREATE TABLE login_chains (
  period timestamptz PRIMARY KEY,
  length bigint NOT NULL,
  origin bytea NOT NULL,
  head bytea NOT NULL
);

CREATE TABLE login_history (
  period timestamptz NOT NULL,
  position bigint NOT NULL,
  at timestamptz NOT NULL,
  account bytea NOT NULL,           -- keyed hash of the address that was tried
  user_id uuid,                     -- whose it is, where anybody's
  ip inet NOT NULL,
  device text NOT NULL,
  outcome text NOT NULL,
  digest bytea NOT NULL,
  PRIMARY KEY (period, position)
) PARTITION BY RANGE (period);
CREATE INDEX login_history_user ON login_history (user_id, period DESC, position DESC);

-- Failed attempts in a row, for each account: one lane for strangers, one for each known device.
CREATE TABLE login_lanes (
  account bytea NOT NULL,
  device uuid NOT NULL,
  failures integer NOT NULL,
  open_at timestamptz NOT NULL,
  PRIMARY KEY (account, device)
) WITH (fillfactor = 70);
CREATE INDEX login_lanes_open_at ON login_lanes (open_at);

INSERT INTO partition_plans VALUES ('login_history', '28 days', 1, '364 days');
