"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

LOCK_PRODUCT = """
SELECT clock_timestamp() AS now FROM products WHERE id = $1 FOR KEY SHARE
"""


async def lock_product(db: Executor, id: UUID) -> datetime | None:
    """The product is there until commit; answers what time it is."""
    value: datetime | None = await db.fetchval(LOCK_PRODUCT, id)
    return value


LOCK_PRODUCT_OF = """
SELECT clock_timestamp() AS now
FROM products WHERE id = (SELECT product_id FROM deals WHERE deals.id = $1)
FOR KEY SHARE
"""


async def lock_product_of(db: Executor, deal_id: UUID) -> datetime | None:
    """The same by a deal of it. Whoever removes a product waits, and then sees whether the deal is open."""
    value: datetime | None = await db.fetchval(LOCK_PRODUCT_OF, deal_id)
    return value


class Deal(NamedTuple):
    id: UUID
    product_id: UUID
    price_krw: int
    opens_at: datetime
    closes_at: datetime
    quota: int
    per_customer: int | None
    admit_per_s: int | None
    withdrawn_at: datetime | None
    created_at: datetime
    changed_at: datetime
    name: str
    usual_price_krw: int
    sold_out: bool


INSERT_DEAL = """
INSERT INTO deals (product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s,
  withdrawn_at, created_at, changed_at,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  (SELECT products.price_krw FROM products WHERE products.id = product_id) AS usual_price_krw,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deals.id), false) AS sold_out
"""


async def insert_deal(
    db: Executor,
    *,
    product_id: UUID,
    price_krw: int,
    opens_at: datetime,
    closes_at: datetime,
    quota: int,
    per_customer: int | None,
    admit_per_s: int | None,
) -> Deal:
    [record] = await db.fetch(
        INSERT_DEAL, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s
    )
    return Deal(*record)


SELECT_DEAL = """
SELECT
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s,
  withdrawn_at, created_at, changed_at,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  (SELECT products.price_krw FROM products WHERE products.id = product_id) AS usual_price_krw,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deals.id), false) AS sold_out
FROM deals WHERE deals.id = $1
"""


async def select_deal(db: Executor, id: UUID) -> Deal | None:
    record = await db.fetchrow(SELECT_DEAL, id)
    return None if record is None else Deal(*record)


class Terms(NamedTuple):
    id: UUID
    product_id: UUID
    price_krw: int
    opens_at: datetime
    closes_at: datetime
    quota: int
    per_customer: int | None
    admit_per_s: int | None
    withdrawn_at: datetime | None


LOCK_DEAL = """
SELECT
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s, withdrawn_at
FROM deals WHERE id = $1
FOR NO KEY UPDATE
"""


async def lock_deal(db: Executor, id: UUID) -> Terms | None:
    record = await db.fetchrow(LOCK_DEAL, id)
    return None if record is None else Terms(*record)


UPDATE_DEAL = """
UPDATE deals SET
  price_krw = $1, opens_at = $2, closes_at = $3, quota = $4,
  per_customer = $5, admit_per_s = $6, changed_at = statement_timestamp()
WHERE deals.id = $7
RETURNING
  id, product_id, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s,
  withdrawn_at, created_at, changed_at,
  (SELECT name FROM products WHERE products.id = product_id) AS name,
  (SELECT products.price_krw FROM products WHERE products.id = product_id) AS usual_price_krw,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deals.id), false) AS sold_out
"""


async def update_deal(
    db: Executor,
    *,
    price_krw: int,
    opens_at: datetime,
    closes_at: datetime,
    quota: int,
    per_customer: int | None,
    admit_per_s: int | None,
    id: UUID,
) -> Deal:
    [record] = await db.fetch(
        UPDATE_DEAL, price_krw, opens_at, closes_at, quota, per_customer, admit_per_s, id
    )
    return Deal(*record)


UPDATE_DEAL_WITHDRAWN = """
UPDATE deals SET withdrawn_at = statement_timestamp(), changed_at = statement_timestamp() WHERE id = $1
"""


async def update_deal_withdrawn(db: Executor, id: UUID) -> None:
    await db.execute(UPDATE_DEAL_WITHDRAWN, id)


class Unengaged(NamedTuple):
    id: UUID
    price_krw: int


SELECT_PRODUCT_WITHOUT_DEAL = """
SELECT id, price_krw FROM products
WHERE name = ANY($1::text[]) AND NOT EXISTS (
  SELECT FROM deals
  WHERE product_id = products.id AND withdrawn_at IS NULL AND closes_at > now()
)
ORDER BY id
LIMIT 1
"""


async def select_product_without_deal(db: Executor, names: Sequence[str]) -> Unengaged | None:
    """One of these names that is in no deal that is open or to come."""
    record = await db.fetchrow(SELECT_PRODUCT_WITHOUT_DEAL, names)
    return None if record is None else Unengaged(*record)
