-- One row for each attempt to take money. Its id is what the provider knows it by, so asking again
-- after a lost answer charges nobody twice.
CREATE TABLE payments (
  id uuid PRIMARY KEY DEFAULT uuidv7(),
  order_id uuid NOT NULL REFERENCES orders,
  amount_krw bigint NOT NULL CHECK (amount_krw >= 0),
  state text NOT NULL DEFAULT 'asked'
    CHECK (state IN ('asked', 'approved', 'declined', 'refunding', 'refunded')),
  asked_at timestamptz NOT NULL DEFAULT now(),
  settled_at timestamptz,              -- when the provider's answer was known
  next_try_at timestamptz NOT NULL,    -- when the background jobs ask the provider what became of it
  tries integer NOT NULL DEFAULT 0     -- how often they did, for this state
);
CREATE INDEX payments_by_order ON payments (order_id, id);
-- At most one attempt of an order is open or has the money.
CREATE UNIQUE INDEX payments_of_order ON payments (order_id)
  WHERE state IN ('asked', 'approved', 'refunding');
CREATE INDEX payments_open ON payments (next_try_at) WHERE state IN ('asked', 'refunding');
