"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from uuid import UUID

from holdfast.core.db import Executor

SELECT_OFFERS_OF_ORDERS = """
SELECT DISTINCT
  unnest(ARRAY(SELECT offer_id FROM order_items WHERE order_id = wanted.id)) AS offer_id
FROM (SELECT unnest($1::uuid[]) AS id) AS wanted
"""


async def select_offers_of_orders(db: Executor, ids: Sequence[UUID]) -> list[UUID]:
    """Every offer that these orders are for. What an order holds never changes, so no lock is needed.
    Each is looked up by its key, also while the planner believes the table to be small.
    """
    return [record[0] for record in await db.fetch(SELECT_OFFERS_OF_ORDERS, ids)]


UPDATE_ORDERS_ENDED = """
WITH ended AS (
  UPDATE orders SET status = $1, changed_at = clock_timestamp()
  WHERE id = ANY($2::uuid[]) AND status = $3
  RETURNING id, customer_id, total_krw
), returned AS (
  UPDATE offers SET
    remaining = remaining + units,
    held = held - CASE WHEN $3 = 'reserved' THEN units ELSE 0 END,
    sold = sold - CASE WHEN $3 = 'paid' THEN units ELSE 0 END,
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
  SELECT 'order.' || $1::text, jsonb_build_object(
    'order_id', id, 'customer_id', customer_id, 'total_krw', total_krw
  )
  FROM ended
  UNION ALL
  SELECT 'stock.changed', jsonb_build_object(
    'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
  )
  FROM returned
)
SELECT id FROM ended
"""


async def update_orders_ended(
    db: Executor, *, became: str, ids: Sequence[UUID], was: str
) -> list[UUID]:
    """Those that still are what they were end, and their units are back in stock. The offers are locked
    already, so nobody else can end the same order or see the stock half returned.
    """
    return [record[0] for record in await db.fetch(UPDATE_ORDERS_ENDED, became, ids, was)]


LOCK_OVERDUE = """
SELECT id FROM orders
WHERE (SELECT pg_try_advisory_xact_lock(hashtext(current_schema() || '.overdue')))
  AND status = 'reserved' AND held_until <= clock_timestamp()
ORDER BY held_until
LIMIT $1
"""


async def lock_overdue(db: Executor, most: int) -> list[UUID]:
    """Orders that nobody paid in time, by this clock, the longest overdue first. While another process
    is at work on them there are none for this one.
    """
    return [record[0] for record in await db.fetch(LOCK_OVERDUE, most)]


SELECT_OVERDUE_S = """
SELECT greatest(extract(epoch FROM clock_timestamp() - min(held_until)), 0)::float8 AS overdue_s
FROM orders WHERE status = 'reserved'
"""


async def select_overdue_s(db: Executor) -> float:
    """How long ago the order that is overdue for the longest should have ended."""
    [record] = await db.fetch(SELECT_OVERDUE_S)
    value: float = record[0]
    return value
