-- name: select_offers_of_orders :many
-- Every offer that these orders are for. What an order holds never changes, so no lock is needed.
-- Each is looked up by its key, also while the planner believes the table to be small.
-- not null: offer_id
SELECT DISTINCT
  unnest(ARRAY(SELECT offer_id FROM order_items WHERE order_id = wanted.id)) AS offer_id
FROM (SELECT unnest(@ids::uuid[]) AS id) AS wanted;

-- name: update_orders_ended :many
-- Those that still are what they were end, and their units are back in stock. The offers are locked
-- already, so nobody else can end the same order or see the stock half returned.
WITH ended AS (
  UPDATE orders SET status = @became, changed_at = clock_timestamp()
  WHERE id = ANY(@ids::uuid[]) AND status = @was
  RETURNING id, customer_id, total_krw
), returned AS (
  UPDATE offers SET
    remaining = remaining + units,
    held = held - CASE WHEN @was = 'reserved' THEN units ELSE 0 END,
    sold = sold - CASE WHEN @was = 'paid' THEN units ELSE 0 END,
    changes = changes + 1
  FROM (
    SELECT offer_id, sum(quantity) AS units FROM order_items
    WHERE order_id = ANY(ARRAY(SELECT id FROM ended))
    GROUP BY offer_id
  ) AS given_back
  WHERE offers.id = given_back.offer_id
  RETURNING offers.id, remaining, held, sold, changes
), events AS (
  INSERT INTO outbox (type, payload)
  SELECT 'order.' || @became::text, jsonb_build_object(
    'order_id', id, 'customer_id', customer_id, 'total_krw', total_krw
  )
  FROM ended
  UNION ALL
  SELECT 'stock.changed', jsonb_build_object(
    'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
  )
  FROM returned
)
SELECT id FROM ended;

-- name: lock_overdue :many
-- Orders that nobody paid in time, by this clock, the longest overdue first. While another process
-- is at work on them there are none for this one.
SELECT id FROM orders
WHERE (SELECT pg_try_advisory_xact_lock(hashtext(current_schema() || '.overdue')))
  AND status = 'reserved' AND held_until <= clock_timestamp()
ORDER BY held_until
LIMIT @most;

-- name: select_overdue_s :one
-- How long ago the order that is overdue for the longest should have ended.
-- exactly one row
-- not null: overdue_s
SELECT greatest(extract(epoch FROM clock_timestamp() - min(held_until)), 0)::float8 AS overdue_s
FROM orders WHERE status = 'reserved';
