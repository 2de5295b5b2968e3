-- Events are written in the transaction that makes them true, and relayed afterwards.
CREATE TABLE outbox (
  id uuid NOT NULL DEFAULT uuidv7(),
  created_at timestamptz NOT NULL DEFAULT now(),
  type text NOT NULL,
  payload jsonb NOT NULL,
  relayed_at timestamptz
) PARTITION BY RANGE (created_at);

CREATE INDEX outbox_waiting ON outbox (id) WHERE relayed_at IS NULL;

INSERT INTO partition_plans VALUES ('outbox', '1 day', 7, '7 days');
