-- name: select_offers :many
-- Deals and products by their own ids. A deal that was withdrawn closed then, and never opens later.
-- row: Offer
-- not null: id, kind, product_id, name, price_krw, quantity
-- nullable: opens_at, closes_at, per_customer, admit_per_s
SELECT
  id, 'deal' AS kind, product_id,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  price_krw, quota AS quantity,
  least(opens_at, withdrawn_at) AS opens_at, least(closes_at, withdrawn_at) AS closes_at,
  per_customer, admit_per_s
FROM deals WHERE id = ANY(@ids::uuid[])
UNION ALL
SELECT id, 'product', id, name, price_krw, stock, NULL, NULL, NULL, NULL
FROM products WHERE id = ANY(@ids::uuid[])
ORDER BY id;
