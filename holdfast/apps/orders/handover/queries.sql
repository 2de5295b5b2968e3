-- name: insert_orders_of_waiting :one
-- Who is first in line gets what is left: one unit, in an order of their own, at the next place. Who
-- has as many as one customer may buy by now leaves the line without. Answers how many did, because
-- then there may still be something for those behind them. The offers are locked already. An order's
-- key has its id in it: nobody can have used it before, by chance or on purpose.
-- exactly one row
-- not null: passed_over
WITH line AS MATERIALIZED (
  SELECT
    offer.id AS offer_id, offer.name, offer.price_krw, offer.places, first.customer_id, first.number,
    offer.per_customer IS NULL OR offer.per_customer > coalesce((
      SELECT units FROM possessions
      WHERE offer_id = offer.id AND customer_id = first.customer_id
    ), 0) AS may_have_one
  FROM offers AS offer CROSS JOIN LATERAL (
    SELECT customer_id, number FROM waiting
    WHERE offer_id = offer.id ORDER BY number LIMIT offer.remaining
  ) AS first
  WHERE offer.id = ANY(@offer_ids::uuid[])
    AND (offer.closes_at IS NULL OR clock_timestamp() < offer.closes_at)
), gone AS (
  DELETE FROM waiting
  WHERE offer_id = ANY(@offer_ids::uuid[]) AND number = ANY(ARRAY(SELECT number FROM line))
), served AS MATERIALIZED (
  SELECT
    uuidv7() AS order_id, offer_id, customer_id, name, price_krw,
    places + row_number() OVER (PARTITION BY offer_id ORDER BY number) AS place
  FROM line WHERE may_have_one
), made AS (
  INSERT INTO orders (id, customer_id, key, digest, total_krw, placed_at, held_until, changed_at)
  SELECT
    order_id, customer_id, 'waiting:' || order_id, '', price_krw,
    statement_timestamp(), statement_timestamp() + @hold::interval, statement_timestamp()
  FROM served
), items AS (
  INSERT INTO order_items
  SELECT order_id, 0, offer_id, customer_id, place, 1, price_krw, name FROM served
), taken AS (
  UPDATE offers SET
    remaining = remaining - units, held = held + units,
    places = places + units, changes = changes + 1
  FROM (SELECT offer_id, count(*) AS units FROM served GROUP BY offer_id) AS wanted
  WHERE id = wanted.offer_id AND id = ANY(@offer_ids::uuid[])
  RETURNING id, remaining, held, sold, changes
), events AS (
  INSERT INTO outbox (type, payload)
  SELECT 'order.placed', jsonb_build_object(
    'order_id', order_id, 'customer_id', customer_id, 'total_krw', price_krw
  )
  FROM served
  UNION ALL
  SELECT 'waiting.served', jsonb_build_object(
    'offer_id', offer_id, 'customer_id', customer_id, 'order_id', order_id
  )
  FROM served
  UNION ALL
  SELECT 'stock.changed', jsonb_build_object(
    'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
  )
  FROM taken
)
SELECT count(*) AS passed_over FROM line WHERE NOT may_have_one;
