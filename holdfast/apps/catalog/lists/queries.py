"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

SELECT_TIME = """
SELECT clock_timestamp()::timestamptz AS now
"""


async def select_time(db: Executor) -> datetime:
    [record] = await db.fetch(SELECT_TIME)
    value: datetime = record[0]
    return value


class SelectCategoriesRow(NamedTuple):
    name: str
    products: int


SELECT_CATEGORIES = """
SELECT name, products FROM categories
WHERE products > 0 AND name > $1::text
ORDER BY name
LIMIT $2
"""


async def select_categories(db: Executor, *, after: str, most: int) -> list[SelectCategoriesRow]:
    """Those that have products, by name."""
    return [
        SelectCategoriesRow(*record) for record in await db.fetch(SELECT_CATEGORIES, after, most)
    ]


class Product(NamedTuple):
    id: UUID
    name: str
    description: str
    category: str
    price_krw: int
    stock: int
    created_at: datetime
    changed_at: datetime


SELECT_PRODUCTS = """
SELECT id, name, description, category, price_krw, stock, created_at, changed_at
FROM products WHERE id = ANY($1::uuid[])
"""


async def select_products(db: Executor, ids: Sequence[UUID]) -> list[Product]:
    return [Product(*record) for record in await db.fetch(SELECT_PRODUCTS, ids)]


SELECT_NEWEST = """
SELECT id FROM products
WHERE id < $1::uuid
ORDER BY id DESC LIMIT $3 OFFSET $2
"""


async def select_newest(db: Executor, *, before_id: UUID, skip: int, most: int) -> list[UUID]:
    """A page's ids: what is skipped is read from the index alone, here and below."""
    return [record[0] for record in await db.fetch(SELECT_NEWEST, before_id, skip, most)]


SELECT_NEWEST_OF_CATEGORY = """
SELECT id FROM products
WHERE category = $1::text AND id < $2::uuid
ORDER BY id DESC LIMIT $4 OFFSET $3
"""


async def select_newest_of_category(
    db: Executor, *, category: str, before_id: UUID, skip: int, most: int
) -> list[UUID]:
    return [
        record[0]
        for record in await db.fetch(SELECT_NEWEST_OF_CATEGORY, category, before_id, skip, most)
    ]


SELECT_CHEAPEST = """
SELECT id FROM products
WHERE (price_krw, id) > ($1::bigint, $2::uuid) AND price_krw <= $3::bigint
ORDER BY price_krw, id LIMIT $5 OFFSET $4
"""


async def select_cheapest(
    db: Executor, *, after_krw: int, after_id: UUID, price_to: int, skip: int, most: int
) -> list[UUID]:
    """The position is also the lower bound: an index is entered at one place."""
    return [
        record[0]
        for record in await db.fetch(SELECT_CHEAPEST, after_krw, after_id, price_to, skip, most)
    ]


SELECT_CHEAPEST_OF_CATEGORY = """
SELECT id FROM products
WHERE category = $1::text
  AND (price_krw, id) > ($2::bigint, $3::uuid) AND price_krw <= $4::bigint
ORDER BY price_krw, id LIMIT $6 OFFSET $5
"""


async def select_cheapest_of_category(
    db: Executor,
    *,
    category: str,
    after_krw: int,
    after_id: UUID,
    price_to: int,
    skip: int,
    most: int,
) -> list[UUID]:
    return [
        record[0]
        for record in await db.fetch(
            SELECT_CHEAPEST_OF_CATEGORY, category, after_krw, after_id, price_to, skip, most
        )
    ]


SELECT_DEAREST = """
SELECT id FROM products
WHERE (price_krw, id) < ($1::bigint, $2::uuid) AND price_krw >= $3::bigint
ORDER BY price_krw DESC, id DESC LIMIT $5 OFFSET $4
"""


async def select_dearest(
    db: Executor, *, before_krw: int, before_id: UUID, price_from: int, skip: int, most: int
) -> list[UUID]:
    return [
        record[0]
        for record in await db.fetch(SELECT_DEAREST, before_krw, before_id, price_from, skip, most)
    ]


SELECT_DEAREST_OF_CATEGORY = """
SELECT id FROM products
WHERE category = $1::text
  AND (price_krw, id) < ($2::bigint, $3::uuid) AND price_krw >= $4::bigint
ORDER BY price_krw DESC, id DESC LIMIT $6 OFFSET $5
"""


async def select_dearest_of_category(
    db: Executor,
    *,
    category: str,
    before_krw: int,
    before_id: UUID,
    price_from: int,
    skip: int,
    most: int,
) -> list[UUID]:
    return [
        record[0]
        for record in await db.fetch(
            SELECT_DEAREST_OF_CATEGORY, category, before_krw, before_id, price_from, skip, most
        )
    ]


SELECT_BY_NAME = """
SELECT id FROM products
WHERE (name, id) > ($1::text, $2::uuid)
ORDER BY name, id LIMIT $4 OFFSET $3
"""


async def select_by_name(
    db: Executor, *, after_name: str, after_id: UUID, skip: int, most: int
) -> list[UUID]:
    return [
        record[0] for record in await db.fetch(SELECT_BY_NAME, after_name, after_id, skip, most)
    ]


SELECT_BY_NAME_OF_CATEGORY = """
SELECT id FROM products
WHERE category = $1::text AND (name, id) > ($2::text, $3::uuid)
ORDER BY name, id LIMIT $5 OFFSET $4
"""


async def select_by_name_of_category(
    db: Executor, *, category: str, after_name: str, after_id: UUID, skip: int, most: int
) -> list[UUID]:
    return [
        record[0]
        for record in await db.fetch(
            SELECT_BY_NAME_OF_CATEGORY, category, after_name, after_id, skip, most
        )
    ]


SELECT_TOTAL = """
SELECT coalesce(sum(products), 0)::bigint AS total FROM categories
WHERE $1::text IS NULL OR name = $1::text
"""


async def select_total(db: Executor, category: str | None) -> int:
    """How many products there are, in all or of a category, without counting them."""
    [record] = await db.fetch(SELECT_TOTAL, category)
    value: int = record[0]
    return value


SELECT_TOTAL_OF_PRICES = """
SELECT count(*) AS total FROM (
  SELECT FROM products
  WHERE price_krw >= $1::bigint AND price_krw <= $2::bigint
  LIMIT $3
) AS counted
"""


async def select_total_of_prices(db: Executor, *, price_from: int, price_to: int, most: int) -> int:
    """How many cost so much, counted only so far."""
    [record] = await db.fetch(SELECT_TOTAL_OF_PRICES, price_from, price_to, most)
    value: int = record[0]
    return value


SELECT_TOTAL_OF_PRICES_OF_CATEGORY = """
SELECT count(*) AS total FROM (
  SELECT FROM products
  WHERE category = $1::text
    AND price_krw >= $2::bigint AND price_krw <= $3::bigint
  LIMIT $4
) AS counted
"""


async def select_total_of_prices_of_category(
    db: Executor, *, category: str, price_from: int, price_to: int, most: int
) -> int:
    [record] = await db.fetch(
        SELECT_TOTAL_OF_PRICES_OF_CATEGORY, category, price_from, price_to, most
    )
    value: int = record[0]
    return value


SELECT_MOMENTS = """
SELECT moment FROM (
  SELECT now() AS moment
  UNION
  (SELECT DISTINCT opens_at FROM deals
   WHERE withdrawn_at IS NULL AND opens_at > now()
     AND opens_at <= now() + make_interval(secs => $1::float8)
   ORDER BY opens_at LIMIT $2)
  UNION
  (SELECT DISTINCT closes_at FROM deals
   WHERE withdrawn_at IS NULL AND closes_at > now()
     AND closes_at <= now() + make_interval(secs => $1::float8)
   ORDER BY closes_at LIMIT $2)
) AS moments
ORDER BY moment LIMIT $2
"""


async def select_moments(db: Executor, *, within_s: float, most: int) -> list[datetime]:
    """Now, and the next moments within a time at which some deal opens or closes."""
    return [record[0] for record in await db.fetch(SELECT_MOMENTS, within_s, most)]


class DealThen(NamedTuple):
    moment: datetime
    id: UUID
    product_id: UUID
    name: str
    price_krw: int
    usual_price_krw: int
    opens_at: datetime
    closes_at: datetime
    quota: int
    per_customer: int | None
    admit_per_s: int | None
    withdrawn_at: datetime | None
    created_at: datetime
    changed_at: datetime
    sold_out: bool


SELECT_DEALS_OPEN = """
SELECT times.moment, deal.id, deal.product_id, product.name, deal.price_krw,
  product.price_krw AS usual_price_krw, deal.opens_at, deal.closes_at, deal.quota,
  deal.per_customer, deal.admit_per_s, deal.withdrawn_at, deal.created_at, deal.changed_at,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deal.id), false) AS sold_out
FROM (SELECT unnest($1::timestamptz[]) AS moment) AS times
CROSS JOIN LATERAL (
  SELECT id, product_id, price_krw, opens_at, closes_at, quota, per_customer, withdrawn_at, created_at, changed_at, admit_per_s FROM deals
  WHERE withdrawn_at IS NULL AND opens_at <= times.moment AND closes_at > times.moment
    AND (closes_at, id) > ($2::timestamptz, $3::uuid)
  ORDER BY closes_at, id LIMIT $4
) AS deal
CROSS JOIN LATERAL (
  SELECT name, price_krw FROM products WHERE products.id = deal.product_id LIMIT 1
) AS product
ORDER BY times.moment, deal.closes_at, deal.id
"""


async def select_deals_open(
    db: Executor, *, moments: Sequence[datetime], after: datetime, after_id: UUID, most: int
) -> list[DealThen]:
    """A page of those that are open, as it is at each of these moments."""
    return [
        DealThen(*record)
        for record in await db.fetch(SELECT_DEALS_OPEN, moments, after, after_id, most)
    ]


SELECT_DEALS_UPCOMING = """
SELECT times.moment, deal.id, deal.product_id, product.name, deal.price_krw,
  product.price_krw AS usual_price_krw, deal.opens_at, deal.closes_at, deal.quota,
  deal.per_customer, deal.admit_per_s, deal.withdrawn_at, deal.created_at, deal.changed_at,
  coalesce((SELECT remaining = 0 FROM availability WHERE offer_id = deal.id), false) AS sold_out
FROM (SELECT unnest($1::timestamptz[]) AS moment) AS times
CROSS JOIN LATERAL (
  SELECT id, product_id, price_krw, opens_at, closes_at, quota, per_customer, withdrawn_at, created_at, changed_at, admit_per_s FROM deals
  WHERE withdrawn_at IS NULL AND opens_at > times.moment
    AND (opens_at, id) > ($2::timestamptz, $3::uuid)
  ORDER BY opens_at, id LIMIT $4
) AS deal
CROSS JOIN LATERAL (
  SELECT name, price_krw FROM products WHERE products.id = deal.product_id LIMIT 1
) AS product
ORDER BY times.moment, deal.opens_at, deal.id
"""


async def select_deals_upcoming(
    db: Executor, *, moments: Sequence[datetime], after: datetime, after_id: UUID, most: int
) -> list[DealThen]:
    """A page of those that are to open, as it is at each of these moments."""
    return [
        DealThen(*record)
        for record in await db.fetch(SELECT_DEALS_UPCOMING, moments, after, after_id, most)
    ]
