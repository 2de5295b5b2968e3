"""Generated from queries.sql by `make sql`; edit that file instead."""

from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Counts(NamedTuple):
    id: UUID
    name: str
    initial: int
    remaining: int
    held: int
    sold: int
    places: int
    held_found: int
    sold_found: int
    places_found: int


SELECT_COUNTS = """
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
  WHERE $1::uuid IS NULL OR item.offer_id = $1
  GROUP BY item.offer_id
) AS found ON found.offer_id = offers.id
WHERE $1::uuid IS NULL OR offers.id = $1
ORDER BY offers.id
"""


async def select_counts(db: Executor, offer_id: UUID | None) -> list[Counts]:
    """What each offer says of itself, and what its orders say."""
    return [Counts(*record) for record in await db.fetch(SELECT_COUNTS, offer_id)]


class Misplaced(NamedTuple):
    offer_id: UUID
    order_id: UUID
    place: int
    expected: int


SELECT_MISPLACED = """
SELECT DISTINCT ON (offer_id) offer_id, order_id, place, expected
FROM (
  SELECT
    offer_id, order_id, place,
    row_number() OVER (PARTITION BY offer_id ORDER BY place) AS expected
  FROM order_items
  WHERE $1::uuid IS NULL OR offer_id = $1
) AS numbered
WHERE place <> expected
ORDER BY offer_id, place
"""


async def select_misplaced(db: Executor, offer_id: UUID | None) -> list[Misplaced]:
    """The first place of each offer that is not the next one: one is missing before it, or it is there twice."""
    return [Misplaced(*record) for record in await db.fetch(SELECT_MISPLACED, offer_id)]


class Stray(NamedTuple):
    order_id: UUID
    line: int
    offer_id: UUID
    has_order: bool
    has_offer: bool


SELECT_STRAYS = """
SELECT
  item.order_id, item.line, item.offer_id,
  orders.id IS NOT NULL AS has_order, offers.id IS NOT NULL AS has_offer
FROM order_items AS item
LEFT JOIN orders ON orders.id = item.order_id
LEFT JOIN offers ON offers.id = item.offer_id
WHERE ($1::uuid IS NULL OR item.offer_id = $1)
  AND (orders.id IS NULL OR offers.id IS NULL OR orders.customer_id <> item.customer_id)
ORDER BY item.order_id, item.line
LIMIT $2
"""


async def select_strays(db: Executor, *, offer_id: UUID | None, most: int) -> list[Stray]:
    """Items that belong to no order, to no offer, or to another customer than their order."""
    return [Stray(*record) for record in await db.fetch(SELECT_STRAYS, offer_id, most)]


class WrongTotal(NamedTuple):
    id: UUID
    total_krw: int
    found_krw: int | None


SELECT_WRONG_TOTALS = """
SELECT orders.id, orders.total_krw, basket.found_krw
FROM orders
LEFT JOIN LATERAL (
  SELECT sum(quantity * unit_price_krw)::bigint AS found_krw
  FROM order_items WHERE order_id = orders.id
) AS basket ON true
WHERE ($1::uuid IS NULL OR orders.id = ANY(ARRAY(
    SELECT order_id FROM order_items WHERE offer_id = $1
  )))
  AND basket.found_krw IS DISTINCT FROM orders.total_krw
ORDER BY orders.id
LIMIT $2
"""


async def select_wrong_totals(
    db: Executor, *, offer_id: UUID | None, most: int
) -> list[WrongTotal]:
    """Orders that say another total than their items, and those without any."""
    return [WrongTotal(*record) for record in await db.fetch(SELECT_WRONG_TOTALS, offer_id, most)]
