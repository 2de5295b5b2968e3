-- name: select_offers_known :many
-- How long ago the catalog last said that these are so.
-- row: Confirmed
-- not null: age_s
SELECT id, extract(epoch FROM clock_timestamp() - confirmed_at)::float8 AS age_s
FROM offers WHERE id = ANY(@ids::uuid[]);

-- name: upsert_offers :exec
-- What the catalog says now. As many as were sold or are held stay so, whatever it says. When there
-- are more or fewer than before, an event tells of it.
-- nullable items: opens_at, closes_at, per_customer
WITH told AS MATERIALIZED (
  SELECT
    unnest(@ids::uuid[]) AS id,
    unnest(@kinds::text[]) AS kind,
    unnest(@product_ids::uuid[]) AS product_id,
    unnest(@names::text[]) AS name,
    unnest(@prices_krw::bigint[]) AS price_krw,
    unnest(@opens_at::timestamptz[]) AS opens_at,
    unnest(@closes_at::timestamptz[]) AS closes_at,
    unnest(@per_customer::integer[]) AS per_customer,
    unnest(@quantities::bigint[]) AS quantity
), kept AS (
  INSERT INTO offers AS known (
    id, kind, product_id, name, price_krw, opens_at, closes_at, per_customer, initial, remaining
  )
  SELECT
    id, kind, product_id, name, price_krw, opens_at, closes_at, per_customer, quantity, quantity
  FROM told ORDER BY id
  ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    price_krw = excluded.price_krw,
    opens_at = excluded.opens_at,
    closes_at = excluded.closes_at,
    per_customer = excluded.per_customer,
    initial = greatest(excluded.initial, known.held + known.sold),
    remaining = greatest(excluded.initial - known.held - known.sold, 0),
    changes = known.changes
      + (greatest(excluded.initial, known.held + known.sold) <> known.initial)::integer,
    confirmed_at = clock_timestamp()
  RETURNING id, remaining, held, sold, changes, old.changes AS changes_before
)
INSERT INTO outbox (type, payload)
SELECT 'stock.changed', jsonb_build_object(
  'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
)
FROM kept WHERE changes > changes_before;

-- name: update_offers_closed :many
-- The catalog has them no more: what was bought stays bought, and nothing more is sold. Answers
-- those that were ever known here.
UPDATE offers SET closes_at = least(closes_at, clock_timestamp()), confirmed_at = clock_timestamp()
WHERE id = ANY(ARRAY(
  SELECT id FROM offers WHERE id = ANY(@ids::uuid[]) ORDER BY id FOR NO KEY UPDATE
))
RETURNING id;
