"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Product(NamedTuple):
    id: UUID
    name: str
    description: str
    category: str
    price_krw: int
    stock: int
    created_at: datetime
    changed_at: datetime


INSERT_PRODUCTS = """
INSERT INTO products (name, description, category, price_krw, stock)
SELECT
  unnest($1::text[]), unnest($2::text[]), unnest($3::text[]),
  unnest($4::bigint[]), unnest($5::bigint[])
RETURNING id, name, description, category, price_krw, stock, created_at, changed_at
"""


async def insert_products(
    db: Executor,
    *,
    names: Sequence[str],
    descriptions: Sequence[str],
    categories: Sequence[str],
    prices_krw: Sequence[int],
    stocks: Sequence[int],
) -> list[Product]:
    """In the order given."""
    return [
        Product(*record)
        for record in await db.fetch(
            INSERT_PRODUCTS, names, descriptions, categories, prices_krw, stocks
        )
    ]


SELECT_PRODUCT = """
SELECT id, name, description, category, price_krw, stock, created_at, changed_at
FROM products WHERE id = $1
"""


async def select_product(db: Executor, id: UUID) -> Product | None:
    record = await db.fetchrow(SELECT_PRODUCT, id)
    return None if record is None else Product(*record)


LOCK_PRODUCT = """
SELECT id, name, description, category, price_krw, stock, created_at, changed_at
FROM products WHERE id = $1
FOR UPDATE
"""


async def lock_product(db: Executor, id: UUID) -> Product | None:
    """As it is when everybody who came before is done; until commit nobody makes a deal of it."""
    record = await db.fetchrow(LOCK_PRODUCT, id)
    return None if record is None else Product(*record)


UPDATE_PRODUCT = """
UPDATE products SET
  name = $1, description = $2, category = $3, price_krw = $4,
  stock = $5, changed_at = statement_timestamp()
WHERE id = $6
RETURNING id, name, description, category, price_krw, stock, created_at, changed_at
"""


async def update_product(
    db: Executor,
    *,
    name: str,
    description: str,
    category: str,
    price_krw: int,
    stock: int,
    id: UUID,
) -> Product:
    [record] = await db.fetch(UPDATE_PRODUCT, name, description, category, price_krw, stock, id)
    return Product(*record)


DELETE_PRODUCT = """
DELETE FROM products WHERE products.id = $1 AND NOT EXISTS (
  SELECT FROM deals
  WHERE product_id = products.id AND withdrawn_at IS NULL AND closes_at > clock_timestamp()
)
"""


async def delete_product(db: Executor, id: UUID) -> int:
    """With its deals, unless one of them is open or to come."""
    status = await db.execute(DELETE_PRODUCT, id)
    return int(status.rpartition(" ")[2])


SELECT_NAMES_TAKEN = """
SELECT DISTINCT name FROM products WHERE name = ANY($1::text[])
"""


async def select_names_taken(db: Executor, names: Sequence[str]) -> list[str]:
    """Those of these names that products have."""
    return [record[0] for record in await db.fetch(SELECT_NAMES_TAKEN, names)]
