"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

UPSERT_AVAILABILITY = """
WITH told AS (
  INSERT INTO availability AS known (offer_id, remaining, held, sold, changes)
  SELECT
    unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::bigint[]),
    unnest($4::bigint[]), unnest($5::bigint[])
  ON CONFLICT (offer_id) DO UPDATE SET
    remaining = excluded.remaining, held = excluded.held,
    sold = excluded.sold, changes = excluded.changes
  WHERE known.changes < excluded.changes
  RETURNING new.offer_id, coalesce(old.remaining = 0, false) <> (new.remaining = 0) AS turned
)
SELECT EXISTS (
  SELECT FROM deals WHERE id = ANY(ARRAY(SELECT offer_id FROM told WHERE turned))
) AS turned
"""


async def upsert_availability(
    db: Executor,
    *,
    offer_ids: Sequence[UUID],
    remaining: Sequence[int],
    held: Sequence[int],
    sold: Sequence[int],
    changes: Sequence[int],
) -> bool:
    """Keep the newest of what was told. Answers whether a deal is sold out by it that was not, or the other
    way round.
    """
    [record] = await db.fetch(UPSERT_AVAILABILITY, offer_ids, remaining, held, sold, changes)
    value: bool = record[0]
    return value


class Stock(NamedTuple):
    remaining: int
    held: int
    sold: int


SELECT_STOCK = """
SELECT
  coalesce(told.remaining, offer.quantity) AS remaining,
  coalesce(told.held, 0)::bigint AS held, coalesce(told.sold, 0)::bigint AS sold
FROM (
  SELECT id, quota AS quantity FROM deals WHERE deals.id = $1
  UNION ALL
  SELECT id, stock FROM products WHERE products.id = $1
) AS offer
LEFT JOIN LATERAL (
  SELECT remaining, held, sold FROM availability WHERE offer_id = $1 LIMIT 1
) AS told ON true
"""


async def select_stock(db: Executor, id: UUID) -> Stock | None:
    """What was told last of a deal or a product; before that, all that there is."""
    record = await db.fetchrow(SELECT_STOCK, id)
    return None if record is None else Stock(*record)
