-- name: lock_product :one
-- The product is there until commit; answers what time it is.
-- not null: now
SELECT clock_timestamp() AS now FROM products WHERE id = @id FOR KEY SHARE;

-- name: lock_product_of :one
-- The same by a deal of it. Whoever removes a product waits, and then sees whether the deal is open.
-- not null: now
SELECT clock_timestamp() AS now
FROM products WHERE id = (SELECT product_id FROM deals WHERE deals.id = @deal_id)
FOR KEY SHARE;

-- name: insert_deal :one
-- row: Deal
-- exactly one row
-- not null: name, usual_price_krw, sold_out
INSERT INTO deals (product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s)
VALUES (@product_id, @price_krw, @opens_at, @closes_at, @quota, @per_customer, @admit_per_s)
RETURNING
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s,
  withdrawn_at, created_at, changed_at,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  (SELECT products.price_krw FROM products WHERE products.id = product_id) AS usual_price_krw,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deals.id), false) AS sold_out;

-- name: select_deal :one
-- row: Deal
-- not null: name, usual_price_krw, sold_out
SELECT
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s,
  withdrawn_at, created_at, changed_at,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  (SELECT products.price_krw FROM products WHERE products.id = product_id) AS usual_price_krw,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deals.id), false) AS sold_out
FROM deals WHERE deals.id = @id;

-- name: lock_deal :one
-- row: Terms
SELECT
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s, withdrawn_at
FROM deals WHERE id = @id
FOR NO KEY UPDATE;

-- name: update_deal :one
-- row: Deal
-- exactly one row
-- not null: name, usual_price_krw, sold_out
UPDATE deals SET
  price_krw = @price_krw, opens_at = @opens_at, closes_at = @closes_at, quota = @quota,
  per_customer = @per_customer, admit_per_s = @admit_per_s, changed_at = statement_timestamp()
WHERE deals.id = @id
RETURNING
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s,
  withdrawn_at, created_at, changed_at,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  (SELECT products.price_krw FROM products WHERE products.id = product_id) AS usual_price_krw,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deals.id), false) AS sold_out;

-- name: update_deal_withdrawn :exec
UPDATE deals SET withdrawn_at = statement_timestamp(), changed_at = statement_timestamp() WHERE id = @id;

-- name: select_product_without_deal :one
-- One of these names that is in no deal that is open or to come.
-- row: Unengaged
SELECT id, price_krw FROM products
WHERE name = ANY(@names::text[]) AND NOT EXISTS (
  SELECT FROM deals
  WHERE product_id = products.id AND withdrawn_at IS NULL AND closes_at > now()
)
ORDER BY id
LIMIT 1;
