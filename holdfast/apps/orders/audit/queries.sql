-- name: select_counts :many
-- What each offer says of itself, and what its orders say.
-- row: Counts
-- not null: held, sold, held_found, sold_found, places_found
SELECT
  offers.id, offers.name,
  offers.initial, offers.remaining, offers.held, offers.sold, offers.places,
  coalesce(found.held, 0)::bigint AS held_found,
  coalesce(found.sold, 0)::bigint AS sold_found,
  coalesce(found.places, 0) AS places_found
FROM offers LEFT JOIN (
  SELECT
    item.offer_id, count(*) AS places,
    sum(item.quantity) FILTER (WHERE orders.status = 'reserved') AS held,
    sum(item.quantity) FILTER (WHERE orders.status = 'paid') AS sold
  FROM order_items AS item LEFT JOIN orders ON orders.id = item.order_id
  WHERE sqlc.narg(offer_id)::uuid IS NULL OR item.offer_id = sqlc.narg(offer_id)
  GROUP BY item.offer_id
) AS found ON found.offer_id = offers.id
WHERE sqlc.narg(offer_id)::uuid IS NULL OR offers.id = sqlc.narg(offer_id)
ORDER BY offers.id;

-- name: select_misplaced :many
-- The first place of each offer that is not the next one: one is missing before it, or it is there twice.
-- row: Misplaced
-- not null: expected
SELECT DISTINCT ON (offer_id) offer_id, order_id, place, expected
FROM (
  SELECT
    offer_id, order_id, place,
    row_number() OVER (PARTITION BY offer_id ORDER BY place) AS expected
  FROM order_items
  WHERE sqlc.narg(offer_id)::uuid IS NULL OR offer_id = sqlc.narg(offer_id)
) AS numbered
WHERE place <> expected
ORDER BY offer_id, place;

-- name: select_strays :many
-- Items that belong to no order, to no offer, or to another customer than their order.
-- row: Stray
-- not null: has_order, has_offer
SELECT
  item.order_id, item.line, item.offer_id,
  orders.id IS NOT NULL AS has_order, offers.id IS NOT NULL AS has_offer
FROM order_items AS item
LEFT JOIN orders ON orders.id = item.order_id
LEFT JOIN offers ON offers.id = item.offer_id
WHERE (sqlc.narg(offer_id)::uuid IS NULL OR item.offer_id = sqlc.narg(offer_id))
  AND (orders.id IS NULL OR offers.id IS NULL OR orders.customer_id <> item.customer_id)
ORDER BY item.order_id, item.line
LIMIT @most;

-- name: select_wrong_totals :many
-- Orders that say another total than their items, and those without any.
-- row: WrongTotal
-- nullable: found_krw
SELECT orders.id, orders.total_krw, basket.found_krw
FROM orders
LEFT JOIN LATERAL (
  SELECT sum(quantity * unit_price_krw)::bigint AS found_krw
  FROM order_items WHERE order_id = orders.id
) AS basket ON true
WHERE (sqlc.narg(offer_id)::uuid IS NULL OR orders.id = ANY(ARRAY(
    SELECT order_id FROM order_items WHERE offer_id = sqlc.narg(offer_id)
  )))
  AND basket.found_krw IS DISTINCT FROM orders.total_krw
ORDER BY orders.id
LIMIT @most;
