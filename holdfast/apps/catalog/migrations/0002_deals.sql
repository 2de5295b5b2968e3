CREATE TABLE deals (
  id uuid PRIMARY KEY DEFAULT uuidv7(),
  product_id uuid NOT NULL REFERENCES products ON DELETE CASCADE,  -- of one that is removed, all are over
  price_krw bigint NOT NULL CHECK (price_krw >= 0),
  opens_at timestamptz NOT NULL,
  closes_at timestamptz NOT NULL,
  quota bigint NOT NULL CHECK (quota > 0),
  per_customer integer CHECK (per_customer > 0),  -- NULL: as many as one likes
  withdrawn_at timestamptz,            -- it is over before its time, and stays known
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  CHECK (opens_at < closes_at)
);
CREATE INDEX deals_of_product ON deals (product_id);
CREATE INDEX deals_by_end ON deals (closes_at, id) WHERE withdrawn_at IS NULL;
CREATE INDEX deals_by_opening ON deals (opens_at, id) WHERE withdrawn_at IS NULL;
