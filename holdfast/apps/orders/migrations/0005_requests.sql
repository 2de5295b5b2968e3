-- Orders asked for and decided about later, in the order of ids. Those who add hold one lock, so ids
-- become visible in their order, and one customer's key is one request although no index can say so.
CREATE TABLE order_requests (
  id uuid NOT NULL DEFAULT uuidv7(),
  customer_id uuid NOT NULL,
  key text NOT NULL,                   -- the customer's name for it, and for the order that comes of it
  digest bytea NOT NULL,               -- of what was asked under that name
  items jsonb NOT NULL,                -- [[offer_id, quantity], ...]
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'placed', 'refused')),
  order_id uuid,
  problem jsonb,                       -- what whoever places an order is answered instead of one
  requested_at timestamptz NOT NULL,
  decided_at timestamptz,
  tries integer NOT NULL DEFAULT 0,    -- how often it alone could not be decided about
  next_try_at timestamptz NOT NULL DEFAULT '-infinity',
  PRIMARY KEY (id, requested_at),
  CHECK (CASE state
    WHEN 'waiting' THEN order_id IS NULL AND problem IS NULL AND decided_at IS NULL
    WHEN 'placed' THEN order_id IS NOT NULL AND problem IS NULL AND decided_at IS NOT NULL
    ELSE order_id IS NULL AND problem IS NOT NULL AND decided_at IS NOT NULL
  END)
) PARTITION BY RANGE (requested_at);
CREATE INDEX order_requests_by_key ON order_requests (customer_id, key);
CREATE INDEX order_requests_waiting ON order_requests (id) WHERE state = 'waiting';

-- Few and large, because a key is looked for in each of them.
INSERT INTO partition_plans VALUES ('order_requests', '7 days', 1, '7 days');
SELECT keep_partitions();
