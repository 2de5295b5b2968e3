-- name: select_offers_known :many
-- How long ago the catalog last said that these are so, and whether they have a waiting room.
-- row: Confirmed
-- not null: age_s, has_room
SELECT
  id, extract(epoch FROM clock_timestamp() - confirmed_at)::float8 AS age_s,
  admit_per_s IS NOT NULL AS has_room
FROM offers WHERE id = ANY(@ids::uuid[]);

-- name: upsert_offers :exec
-- What the catalog says now. As many as were sold or are held stay so, whatever it says. When there
-- are more or fewer than before, an event tells of it.
-- nullable items: opens_at, closes_at, per_customer, admit_per_s
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
    unnest(@admit_per_s::integer[]) AS admit_per_s,
    unnest(@quantities::bigint[]) AS quantity
), kept AS (
  INSERT INTO offers AS known (
    id, kind, product_id, name, price_krw, opens_at, closes_at, per_customer, admit_per_s,
    initial, remaining
  )
  SELECT
    id, kind, product_id, name, price_krw, opens_at, closes_at, per_customer, admit_per_s,
    quantity, quantity
  FROM told ORDER BY id
  ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    price_krw = excluded.price_krw,
    opens_at = excluded.opens_at,
    closes_at = excluded.closes_at,
    per_customer = excluded.per_customer,
    admit_per_s = excluded.admit_per_s,
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

-- name: select_units_on_sale :one
-- Of all deals that are open at this moment.
-- row: Units
-- exactly one row
-- not null: remaining, held, sold
SELECT
  coalesce(sum(remaining), 0)::bigint AS remaining,
  coalesce(sum(held), 0)::bigint AS held,
  coalesce(sum(sold), 0)::bigint AS sold
FROM offers WHERE kind = 'deal' AND closes_at > now() AND opens_at <= now();
