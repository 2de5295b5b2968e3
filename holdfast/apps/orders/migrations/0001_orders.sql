-- An offer is what can be bought: a deal, or a product at its usual price. The catalog says what it
-- is and costs; how many are left is decided here, in the transaction that takes them.
CREATE TABLE offers (
  id uuid PRIMARY KEY,                 -- the deal's or the product's own
  kind text NOT NULL CHECK (kind IN ('deal', 'product')),
  product_id uuid NOT NULL,
  name text NOT NULL,
  price_krw bigint NOT NULL CHECK (price_krw >= 0),
  opens_at timestamptz,                -- NULL: at any time
  closes_at timestamptz,
  per_customer integer CHECK (per_customer > 0),  -- NULL: as many as one likes
  initial bigint NOT NULL,
  remaining bigint NOT NULL CHECK (remaining >= 0),
  held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  sold bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
  places bigint NOT NULL DEFAULT 0,    -- how many were given so far; the next buyer has the next
  changes bigint NOT NULL DEFAULT 0,   -- numbers what is told of the stock, so that the newest wins
  confirmed_at timestamptz NOT NULL DEFAULT now(),  -- when the catalog last said that this is so
  CHECK (initial = remaining + held + sold)
) WITH (fillfactor = 50);              -- one row is written for every batch of orders

-- No foreign keys: an order and its items are written by one statement under the offer's lock, and
-- a check for each row would cost as much again as the row.
CREATE TABLE orders (
  id uuid PRIMARY KEY DEFAULT uuidv7(),
  customer_id uuid NOT NULL,
  key text NOT NULL,                   -- the customer's name for this order, to ask twice safely
  digest bytea NOT NULL,               -- of what was asked under that name
  status text NOT NULL DEFAULT 'reserved'
    CHECK (status IN ('reserved', 'paid', 'cancelled', 'expired', 'refunded')),
  total_krw bigint NOT NULL,
  placed_at timestamptz NOT NULL DEFAULT now(),
  held_until timestamptz NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (customer_id, key)
);
-- A page of a list is one stretch of each status that is asked for, whatever the filters.
CREATE INDEX orders_of_customer ON orders (customer_id, status, placed_at, id);
CREATE INDEX orders_by_status ON orders (status, placed_at, id);
CREATE INDEX orders_held ON orders (held_until) WHERE status = 'reserved';

CREATE TABLE order_items (
  order_id uuid NOT NULL,
  line smallint NOT NULL,
  offer_id uuid NOT NULL,
  customer_id uuid NOT NULL,
  place bigint NOT NULL,               -- in the order in which this offer was sold
  quantity integer NOT NULL CHECK (quantity > 0),
  unit_price_krw bigint NOT NULL,
  name text NOT NULL,                  -- as it was when it was bought
  PRIMARY KEY (order_id, line)
);
CREATE UNIQUE INDEX order_items_by_place ON order_items (offer_id, place);
CREATE INDEX order_items_of_customer ON order_items (offer_id, customer_id);

-- What is in an order, as it is told. It is written into every statement that reads it.
CREATE VIEW baskets AS
SELECT
  order_id,
  json_agg(json_build_object(
    'offer_id', offer_id, 'name', name, 'quantity', quantity,
    'unit_price_krw', unit_price_krw, 'place', place
  ) ORDER BY line) AS items
FROM order_items GROUP BY order_id;
