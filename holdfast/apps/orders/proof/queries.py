"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Winner(NamedTuple):
    place: int
    order_id: UUID
    quantity: int
    placed_at: datetime
    holds: bool


SELECT_WINNERS = """
SELECT item.place, item.order_id, item.quantity, its.placed_at, its.holds
FROM order_items AS item
CROSS JOIN LATERAL (
  SELECT placed_at, status IN ('reserved', 'paid') AS holds
  FROM orders WHERE id = item.order_id LIMIT 1
) AS its
WHERE item.offer_id = $1 AND item.place > $2::bigint
ORDER BY item.place
LIMIT $3
"""


async def select_winners(db: Executor, *, offer_id: UUID, after: int, most: int) -> list[Winner]:
    """A page of everybody who got one, in the order of sale. The id is unique: the limit only keeps the
    planner from reading a whole table that it believes to be small.
    """
    return [Winner(*record) for record in await db.fetch(SELECT_WINNERS, offer_id, after, most)]


class Ledger(NamedTuple):
    initial: int
    remaining: int
    held: int
    sold: int
    places: int
    as_of: datetime


SELECT_LEDGER = """
SELECT initial, remaining, held, sold, places, statement_timestamp() AS as_of
FROM offers WHERE id = $1
"""


async def select_ledger(db: Executor, offer_id: UUID) -> Ledger | None:
    """Whatever was answered before `as_of` is in it."""
    record = await db.fetchrow(SELECT_LEDGER, offer_id)
    return None if record is None else Ledger(*record)
