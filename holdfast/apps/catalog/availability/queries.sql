-- name: upsert_availability :one
-- Keep the newest of what was told. Answers whether a deal is sold out by it that was not, or the other
-- way round.
-- exactly one row
WITH told AS (
  INSERT INTO availability AS known (offer_id, remaining, held, sold, changes)
  SELECT
    unnest(@offer_ids::uuid[]), unnest(@remaining::bigint[]), unnest(@held::bigint[]),
    unnest(@sold::bigint[]), unnest(@changes::bigint[])
  ON CONFLICT (offer_id) DO UPDATE SET
    remaining = excluded.remaining, held = excluded.held,
    sold = excluded.sold, changes = excluded.changes
  WHERE known.changes < excluded.changes
  RETURNING new.offer_id, coalesce(old.remaining = 0, false) <> (new.remaining = 0) AS turned
)
SELECT EXISTS (
  SELECT FROM deals WHERE id = ANY(ARRAY(SELECT offer_id FROM told WHERE turned))
) AS turned;

-- name: select_stock :one
-- What was told last of a deal or a product; before that, all that there is.
-- row: Stock
-- not null: remaining, held, sold
SELECT
  coalesce(told.remaining, offer.quantity) AS remaining,
  coalesce(told.held, 0)::bigint AS held, coalesce(told.sold, 0)::bigint AS sold
FROM (
  SELECT id, quota AS quantity FROM deals WHERE deals.id = @id
  UNION ALL
  SELECT id, stock FROM products WHERE products.id = @id
) AS offer
LEFT JOIN LATERAL (
  SELECT remaining, held, sold FROM availability WHERE offer_id = @id LIMIT 1
) AS told ON true;
