"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Offer(NamedTuple):
    id: UUID
    kind: str
    product_id: UUID
    name: str
    price_krw: int
    quantity: int
    opens_at: datetime | None
    closes_at: datetime | None
    per_customer: int | None
    admit_per_s: int | None


SELECT_OFFERS = """
SELECT
  id, 'deal' AS kind, product_id,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  price_krw, quota AS quantity,
  least(opens_at, withdrawn_at) AS opens_at, least(closes_at, withdrawn_at) AS closes_at,
  per_customer, admit_per_s
FROM deals WHERE id = ANY($1::uuid[])
UNION ALL
SELECT id, 'product', id, name, price_krw, stock, NULL, NULL, NULL, NULL
FROM products WHERE id = ANY($1::uuid[])
ORDER BY id
"""


async def select_offers(db: Executor, ids: Sequence[UUID]) -> list[Offer]:
    """Deals and products by their own ids. A deal that was withdrawn closed then, and never opens later."""
    return [Offer(*record) for record in await db.fetch(SELECT_OFFERS, ids)]
