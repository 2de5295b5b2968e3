"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Order(NamedTuple):
    id: UUID
    customer_id: UUID
    status: str
    total_krw: int
    placed_at: datetime
    held_until: datetime
    changed_at: datetime
    key: str
    items: str


SELECT_ORDERS = """
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders WHERE id = ANY($1::uuid[])
"""


async def select_orders(db: Executor, ids: Sequence[UUID]) -> list[Order]:
    return [Order(*record) for record in await db.fetch(SELECT_ORDERS, ids)]


SELECT_ORDER = """
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders WHERE id = $1 AND customer_id = $2 LIMIT 1
"""


async def select_order(db: Executor, *, order_id: UUID, customer_id: UUID) -> Order | None:
    """One's own, and nobody else's."""
    record = await db.fetchrow(SELECT_ORDER, order_id, customer_id)
    return None if record is None else Order(*record)


SELECT_ORDER_BY_KEY = """
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders WHERE customer_id = $1 AND key = $2 LIMIT 1
"""


async def select_order_by_key(db: Executor, *, customer_id: UUID, key: str) -> Order | None:
    record = await db.fetchrow(SELECT_ORDER_BY_KEY, customer_id, key)
    return None if record is None else Order(*record)


SELECT_ORDERS_OF_CUSTOMER = """
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders
WHERE id = ANY(ARRAY(
  SELECT newest.id
  FROM (SELECT unnest($1::text[]) AS status) AS wanted
  CROSS JOIN LATERAL (
    SELECT id, placed_at FROM orders
    WHERE customer_id = $2::uuid AND status = wanted.status
      AND placed_at >= $3::timestamptz
      AND (placed_at, id) < ($4::timestamptz, $5::uuid)
    ORDER BY placed_at DESC, id DESC
    LIMIT $6
  ) AS newest
  ORDER BY newest.placed_at DESC, newest.id DESC
  LIMIT $6
))
ORDER BY placed_at DESC, id DESC
"""


async def select_orders_of_customer(
    db: Executor,
    *,
    statuses: Sequence[str],
    customer_id: UUID,
    placed_from: datetime,
    before: datetime,
    before_id: UUID,
    most: int,
) -> list[Order]:
    """A page, newest first. Of each status that is wanted the newest are found in the index alone, and
    the newest of those are the page: so no filter makes it read more.
    """
    return [
        Order(*record)
        for record in await db.fetch(
            SELECT_ORDERS_OF_CUSTOMER, statuses, customer_id, placed_from, before, before_id, most
        )
    ]


SELECT_ORDERS_OF_EVERYBODY = """
SELECT
  id, customer_id, status, total_krw, placed_at, held_until, changed_at, key,
  (SELECT items FROM baskets WHERE order_id = orders.id) AS items
FROM orders
WHERE id = ANY(ARRAY(
  SELECT newest.id
  FROM (SELECT unnest($1::text[]) AS status) AS wanted
  CROSS JOIN LATERAL (
    SELECT id, placed_at FROM orders
    WHERE status = wanted.status
      AND placed_at >= $2::timestamptz
      AND (placed_at, id) < ($3::timestamptz, $4::uuid)
    ORDER BY placed_at DESC, id DESC
    LIMIT $5
  ) AS newest
  ORDER BY newest.placed_at DESC, newest.id DESC
  LIMIT $5
))
ORDER BY placed_at DESC, id DESC
"""


async def select_orders_of_everybody(
    db: Executor,
    *,
    statuses: Sequence[str],
    placed_from: datetime,
    before: datetime,
    before_id: UUID,
    most: int,
) -> list[Order]:
    """A page in the same way, of whoever placed them."""
    return [
        Order(*record)
        for record in await db.fetch(
            SELECT_ORDERS_OF_EVERYBODY, statuses, placed_from, before, before_id, most
        )
    ]
