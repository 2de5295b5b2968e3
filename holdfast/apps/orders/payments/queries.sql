-- name: lock_order_of_customer :one
-- row: Own
-- not null: in_time
SELECT status, total_krw, clock_timestamp() < held_until AS in_time
FROM orders WHERE id = @order_id AND customer_id = @customer_id
FOR NO KEY UPDATE;

-- name: upsert_payment :one
-- The attempt that is open, or else a new one; None while an earlier one is being undone. The jobs
-- leave it to whoever asks the provider now, for as long as that may take.
INSERT INTO payments (order_id, amount_krw, next_try_at)
VALUES (@order_id, @amount_krw, now() + @patience::interval)
ON CONFLICT (order_id) WHERE state IN ('asked', 'approved', 'refunding')
DO UPDATE SET next_try_at = excluded.next_try_at
WHERE payments.state = 'asked'
RETURNING id;

-- name: lock_order :one
-- Its offers are locked before it, by everyone.
-- exactly one row
SELECT status FROM orders WHERE id = @order_id FOR NO KEY UPDATE;

-- name: select_state :one
-- To be read after the order is locked: whoever changes it holds that lock.
-- exactly one row
SELECT state FROM payments WHERE id = @payment_id;

-- name: select_order_fits :one
-- Whether enough is left to take out once more what had returned to stock, and its customer has not
-- bought as many as they may in the meantime.
-- exactly one row
-- not null: fits
SELECT bool_and(
  item.quantity <= offer.remaining
  AND (offer.per_customer IS NULL OR item.quantity + coalesce((
    SELECT units FROM possessions AS own
    WHERE own.offer_id = item.offer_id AND own.customer_id = item.customer_id
  ), 0) <= offer.per_customer)
) AS fits
FROM order_items AS item CROSS JOIN LATERAL (
  SELECT remaining, per_customer FROM offers WHERE id = item.offer_id LIMIT 1
) AS offer
WHERE item.order_id = @order_id;

-- name: update_order_paid :exec
-- Its units are sold: those that are held for it or, if it has expired, as many of those that are
-- left. It keeps its places in the sale. Its offers and the order itself are locked.
WITH ordered AS MATERIALIZED (
  SELECT id, customer_id, total_krw, status = 'reserved' AS reserved
  FROM orders WHERE id = @order_id::uuid
), paid AS (
  UPDATE orders SET status = 'paid', changed_at = clock_timestamp()
  FROM ordered WHERE orders.id = ordered.id
), taken AS (
  UPDATE offers SET
    held = held - CASE WHEN reserved THEN quantity ELSE 0 END,
    remaining = remaining - CASE WHEN reserved THEN 0 ELSE quantity END,
    sold = sold + quantity,
    changes = changes + 1
  FROM ordered JOIN order_items AS item ON item.order_id = ordered.id
  WHERE offers.id = item.offer_id
  RETURNING offers.id, remaining, held, sold, changes
), events AS (
  INSERT INTO outbox (type, payload)
  SELECT 'order.paid', jsonb_build_object(
    'order_id', id, 'customer_id', customer_id, 'total_krw', total_krw
  )
  FROM ordered
  UNION ALL
  SELECT 'stock.changed', jsonb_build_object(
    'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
  )
  FROM taken
)
SELECT id FROM ordered;

-- name: update_payment_settled :exec
UPDATE payments SET state = @state, settled_at = clock_timestamp() WHERE id = @payment_id;

-- name: update_payment_undone :exec
-- What was asked for is to be undone: by the jobs, again and again until it is.
UPDATE payments SET state = 'refunding', open_since = now(), next_try_at = now(), tries = 0
WHERE id = @payment_id;

-- name: update_payment_given_back :one
-- exactly one row
-- The money of a paid order is to be given back. The jobs see to it if whoever asks now does not.
UPDATE payments SET
  state = 'refunding',
  open_since = CASE WHEN state = 'refunding' THEN open_since ELSE now() END,
  next_try_at = now() + @patience::interval,
  tries = 0
WHERE order_id = @order_id AND state IN ('approved', 'refunding')
RETURNING id;

-- name: update_payments_taken :many
-- Those that are due, taken by saying when the next attempt would be: so no two processes ask about
-- the same one at once, and one that nobody answers for is asked about ever less often.
-- row: Open
UPDATE payments
SET next_try_at = now() + 2 ^ least(tries, 5) * interval '10 s', tries = tries + 1
WHERE id = ANY(ARRAY(
  SELECT id FROM payments WHERE state IN ('asked', 'refunding') AND next_try_at <= now()
  ORDER BY next_try_at LIMIT @most FOR UPDATE SKIP LOCKED
))
RETURNING id, order_id, state;

-- name: select_payment :one
-- The latest attempt to pay this order, if it is this customer's.
-- row: Payment
-- nullable: settled_at
SELECT id, order_id, state, amount_krw, asked_at, settled_at FROM payments
WHERE order_id = (
  SELECT orders.id FROM orders WHERE orders.id = @order_id AND customer_id = @customer_id
)
ORDER BY id DESC LIMIT 1;

-- name: select_payments_open :one
-- How many the provider was asked for without an answer so far, and how long the oldest has waited.
-- row: Unanswered
-- exactly one row
-- not null: oldest_s
SELECT
  count(*) FILTER (WHERE state = 'asked') AS asked,
  count(*) FILTER (WHERE state = 'refunding') AS refunding,
  coalesce(extract(epoch FROM now() - min(open_since)), 0)::float8 AS oldest_s
FROM payments WHERE state IN ('asked', 'refunding');
