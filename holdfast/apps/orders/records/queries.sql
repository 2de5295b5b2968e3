-- name: select_orders :many
-- row: Order
-- not null: items
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders WHERE id = ANY(@ids::uuid[]);

-- name: select_order :one
-- One's own, and nobody else's.
-- row: Order
-- not null: items
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders WHERE id = @order_id AND customer_id = @customer_id LIMIT 1;

-- name: select_order_by_key :one
-- row: Order
-- not null: items
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders WHERE customer_id = @customer_id AND key = @key LIMIT 1;

-- name: select_orders_of_customer :many
-- A page, newest first. Of each status that is wanted the newest are found in the index alone, and
-- the newest of those are the page: so no filter makes it read more.
-- row: Order
-- not null: items
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders
WHERE id = ANY(ARRAY(
  SELECT newest.id
  FROM (SELECT unnest(@statuses::text[]) AS status) AS wanted
  CROSS JOIN LATERAL (
    SELECT id, placed_at FROM orders
    WHERE customer_id = @customer_id::uuid AND status = wanted.status
      AND placed_at >= @placed_from::timestamptz
      AND (placed_at, id) < (@before::timestamptz, @before_id::uuid)
    ORDER BY placed_at DESC, id DESC
    LIMIT @most
  ) AS newest
  ORDER BY newest.placed_at DESC, newest.id DESC
  LIMIT @most
))
ORDER BY placed_at DESC, id DESC;

-- name: select_orders_of_everybody :many
-- A page in the same way, of whoever placed them.
-- row: Order
-- not null: items
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders
WHERE id = ANY(ARRAY(
  SELECT newest.id
  FROM (SELECT unnest(@statuses::text[]) AS status) AS wanted
  CROSS JOIN LATERAL (
    SELECT id, placed_at FROM orders
    WHERE status = wanted.status
      AND placed_at >= @placed_from::timestamptz
      AND (placed_at, id) < (@before::timestamptz, @before_id::uuid)
    ORDER BY placed_at DESC, id DESC
    LIMIT @most
  ) AS newest
  ORDER BY newest.placed_at DESC, newest.id DESC
  LIMIT @most
))
ORDER BY placed_at DESC, id DESC;
