-- name: select_time :one
-- exactly one row
-- not null: now
SELECT clock_timestamp()::timestamptz AS now;

-- name: select_categories :many
-- Those that have products, by name.
SELECT name, products FROM categories
WHERE products > 0 AND name > @after::text
ORDER BY name
LIMIT @most;

-- name: select_products :many
-- row: Product
SELECT id, name, description, category, price_krw, stock, created_at, changed_at
FROM products WHERE id = ANY(@ids::uuid[]);

-- name: select_newest :many
-- A page's ids: what is skipped is read from the index alone, here and below.
SELECT id FROM products
WHERE id < @before_id::uuid
ORDER BY id DESC LIMIT @most OFFSET @skip;

-- name: select_newest_of_category :many
SELECT id FROM products
WHERE category = @category::text AND id < @before_id::uuid
ORDER BY id DESC LIMIT @most OFFSET @skip;

-- name: select_cheapest :many
-- The position is also the lower bound: an index is entered at one place.
SELECT id FROM products
WHERE (price_krw, id) > (@after_krw::bigint, @after_id::uuid) AND price_krw <= @price_to::bigint
ORDER BY price_krw, id LIMIT @most OFFSET @skip;

-- name: select_cheapest_of_category :many
SELECT id FROM products
WHERE category = @category::text
  AND (price_krw, id) > (@after_krw::bigint, @after_id::uuid) AND price_krw <= @price_to::bigint
ORDER BY price_krw, id LIMIT @most OFFSET @skip;

-- name: select_dearest :many
SELECT id FROM products
WHERE (price_krw, id) < (@before_krw::bigint, @before_id::uuid) AND price_krw >= @price_from::bigint
ORDER BY price_krw DESC, id DESC LIMIT @most OFFSET @skip;

-- name: select_dearest_of_category :many
SELECT id FROM products
WHERE category = @category::text
  AND (price_krw, id) < (@before_krw::bigint, @before_id::uuid) AND price_krw >= @price_from::bigint
ORDER BY price_krw DESC, id DESC LIMIT @most OFFSET @skip;

-- name: select_by_name :many
SELECT id FROM products
WHERE (name, id) > (@after_name::text, @after_id::uuid)
ORDER BY name, id LIMIT @most OFFSET @skip;

-- name: select_by_name_of_category :many
SELECT id FROM products
WHERE category = @category::text AND (name, id) > (@after_name::text, @after_id::uuid)
ORDER BY name, id LIMIT @most OFFSET @skip;

-- name: select_total :one
-- How many products there are, in all or of a category, without counting them.
-- exactly one row
-- not null: total
SELECT coalesce(sum(products), 0)::bigint AS total FROM categories
WHERE sqlc.narg(category)::text IS NULL OR name = sqlc.narg(category)::text;

-- name: select_total_of_prices :one
-- How many cost so much, counted only so far.
-- exactly one row
SELECT count(*) AS total FROM (
  SELECT FROM products
  WHERE price_krw >= @price_from::bigint AND price_krw <= @price_to::bigint
  LIMIT @most
) AS counted;

-- name: select_total_of_prices_of_category :one
-- exactly one row
SELECT count(*) AS total FROM (
  SELECT FROM products
  WHERE category = @category::text
    AND price_krw >= @price_from::bigint AND price_krw <= @price_to::bigint
  LIMIT @most
) AS counted;

-- name: select_moments :many
-- Now, and the next moments within a time at which some deal opens or closes.
-- not null: moment
SELECT moment FROM (
  SELECT now() AS moment
  UNION
  (SELECT DISTINCT opens_at FROM deals
   WHERE withdrawn_at IS NULL AND opens_at > now()
     AND opens_at <= now() + make_interval(secs => sqlc.arg(within_s)::float8)
   ORDER BY opens_at LIMIT @most)
  UNION
  (SELECT DISTINCT closes_at FROM deals
   WHERE withdrawn_at IS NULL AND closes_at > now()
     AND closes_at <= now() + make_interval(secs => sqlc.arg(within_s)::float8)
   ORDER BY closes_at LIMIT @most)
) AS moments
ORDER BY moment LIMIT @most;

-- name: select_deals_open :many
-- A page of those that are open, as it is at each of these moments.
-- row: DealThen
-- not null: moment, sold_out
SELECT times.moment, deal.id, deal.product_id, product.name, deal.price_krw,
  product.price_krw AS usual_price_krw, deal.opens_at, deal.closes_at, deal.quota,
  deal.per_customer, deal.admit_per_s, deal.withdrawn_at, deal.created_at, deal.changed_at,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deal.id), false) AS sold_out
FROM (SELECT unnest(@moments::timestamptz[]) AS moment) AS times
CROSS JOIN LATERAL (
  SELECT * FROM deals
  WHERE withdrawn_at IS NULL AND opens_at <= times.moment AND closes_at > times.moment
    AND (closes_at, id) > (@after::timestamptz, @after_id::uuid)
  ORDER BY closes_at, id LIMIT @most
) AS deal
CROSS JOIN LATERAL (
  SELECT name, price_krw FROM products WHERE products.id = deal.product_id LIMIT 1
) AS product
ORDER BY times.moment, deal.closes_at, deal.id;

-- name: select_deals_upcoming :many
-- A page of those that are to open, as it is at each of these moments.
-- row: DealThen
-- not null: moment, sold_out
SELECT times.moment, deal.id, deal.product_id, product.name, deal.price_krw,
  product.price_krw AS usual_price_krw, deal.opens_at, deal.closes_at, deal.quota,
  deal.per_customer, deal.admit_per_s, deal.withdrawn_at, deal.created_at, deal.changed_at,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deal.id), false) AS sold_out
FROM (SELECT unnest(@moments::timestamptz[]) AS moment) AS times
CROSS JOIN LATERAL (
  SELECT * FROM deals
  WHERE withdrawn_at IS NULL AND opens_at > times.moment
    AND (opens_at, id) > (@after::timestamptz, @after_id::uuid)
  ORDER BY opens_at, id LIMIT @most
) AS deal
CROSS JOIN LATERAL (
  SELECT name, price_krw FROM products WHERE products.id = deal.product_id LIMIT 1
) AS product
ORDER BY times.moment, deal.opens_at, deal.id;
