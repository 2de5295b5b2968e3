"""A shop that has sold for a year: as many orders as one likes, put into the real tables.

Indexes other than the primary keys are made when the rows are in, because that is faster. Orders are known by their numbers:
which id, customer and key the n-th has can be said without asking.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, Self
from uuid import UUID

OFFERS = 499  # prime, so that each has orders of every state
YEAR_MS = 365 * 86_400_000
COLLECTOR = UUID(int=1)  # one order in a hundred is theirs, and nearly all of those were cancelled

INDEXES = """
SELECT
  indrelid::regclass::text AS of_table, indexrelid::regclass::text AS name,
  coalesce(pg_get_constraintdef(pg_constraint.oid), pg_get_indexdef(indexrelid)) AS definition,
  pg_constraint.oid IS NOT NULL AS constrains
FROM pg_index LEFT JOIN pg_constraint ON conindid = indexrelid AND contype = 'u'
WHERE indrelid IN ('orders'::regclass, 'order_items'::regclass) AND NOT indisprimary
"""
# PostgreSQL writes their bodies into the statements that call them.
NUMBERED = """
CREATE FUNCTION pg_temp.placed_at(n bigint, since_ms bigint, step_ms bigint) RETURNS timestamptz
  LANGUAGE sql STABLE RETURN to_timestamp((since_ms + n * step_ms) / 1000.0);
CREATE FUNCTION pg_temp.order_id(n bigint, since_ms bigint, step_ms bigint) RETURNS uuid
  LANGUAGE sql IMMUTABLE RETURN
    (lpad(to_hex(since_ms + n * step_ms), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid;
CREATE FUNCTION pg_temp.customer_id(n bigint, customers bigint) RETURNS uuid
  LANGUAGE sql IMMUTABLE RETURN CASE WHEN n % 100 = 1
    THEN '00000000-0000-0000-0000-000000000001' ELSE md5((n % customers)::text)::uuid END;
CREATE FUNCTION pg_temp.offer_id(k bigint) RETURNS uuid
  LANGUAGE sql IMMUTABLE RETURN lpad(to_hex(k + 1), 32, '0')::uuid
"""
ORDERS = """
INSERT INTO orders
  (id, customer_id, key, digest, status, total_krw, placed_at, held_until, changed_at)
SELECT
  pg_temp.order_id(n, $2, $3), pg_temp.customer_id(n, $4), md5(n::text), '\\x00',
  CASE
    WHEN n % 100 = 1 THEN CASE WHEN n % 10000 = 1 THEN 'paid' ELSE 'cancelled' END
    WHEN n % 20 < 16 THEN 'paid'
    ELSE (ARRAY['reserved', 'cancelled', 'expired', 'refunded'])[n % 20 - 15]
  END,
  CASE WHEN n % 10 = 0 THEN 2000 ELSE 1000 END, at, at + interval '600 s', at
FROM generate_series(1, $1::bigint) AS n
CROSS JOIN LATERAL (SELECT pg_temp.placed_at(n, $2, $3) AS at) AS placed
"""
ITEMS = """
INSERT INTO order_items
  (order_id, line, offer_id, customer_id, place, quantity, unit_price_krw, name)
SELECT
  pg_temp.order_id(n, $2, $3), 0, pg_temp.offer_id((n - 1) % 499), pg_temp.customer_id(n, $4),
  (n - 1) / 499 + 1, 1, 1000, 'Blue mug'
FROM generate_series(1, $1::bigint) AS n
"""
# Every tenth order has a second item, of fifty other offers.
SECOND_ITEMS = """
INSERT INTO order_items
  (order_id, line, offer_id, customer_id, place, quantity, unit_price_krw, name)
SELECT
  pg_temp.order_id(n, $2, $3), 1, pg_temp.offer_id(500 + (n / 10 - 1) % 50),
  pg_temp.customer_id(n, $4), (n / 10 - 1) / 50 + 1, 1, 1000, 'Blue mug'
FROM generate_series(10, $1::bigint, 10) AS n
"""
COUNTED = """
INSERT INTO offers (id, kind, product_id, name, price_krw, initial, remaining, held, sold, places)
SELECT offer_id, 'deal', offer_id, 'Blue mug', 1000, 1000 + held + sold, 1000, held, sold, places
FROM (
  SELECT
    offer_id, count(*) AS places, count(*) FILTER (WHERE status = 'reserved') AS held,
    count(*) FILTER (WHERE status = 'paid') AS sold
  FROM order_items JOIN orders ON orders.id = order_id GROUP BY offer_id
) AS counted
"""
UNSOLD = """
INSERT INTO offers (id, kind, product_id, name, price_krw, initial, remaining)
SELECT uuidv7(), 'product', uuidv7(), 'Red mug', 1000, 1000, 1000 FROM generate_series(1, 100000)
"""


@dataclass(frozen=True)
class Many:
    """Orders 1 to `number`, the last of them placed a moment ago."""

    number: int
    since_ms: int

    @property
    def step_ms(self) -> int:
        return YEAR_MS // self.number

    @property
    def customers(self) -> int:
        return self.number // 50 + 1  # and so has each of them

    def order_id(self, n: int) -> UUID:
        return UUID(f"{self.since_ms + n * self.step_ms:012x}70008000{n:012x}")

    def customer_id(self, n: int) -> UUID:
        return COLLECTOR if n % 100 == 1 else UUID(_md5(n % self.customers))

    def placed_at(self, n: int) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(
            milliseconds=self.since_ms + n * self.step_ms
        )

    @staticmethod
    def key(n: int) -> str:
        return _md5(n)

    @staticmethod
    def offer_id(n: int) -> UUID:
        """Of the order's first item."""
        return UUID(int=(n - 1) % OFFERS + 1)

    @classmethod
    async def fill(cls, owner: Any, number: int) -> Self:
        """Into empty tables, by their owner."""
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        many = cls(number, now_ms - YEAR_MS)
        given = (number, many.since_ms, many.step_ms, many.customers)
        await owner.execute("SET work_mem = '256MB'; SET maintenance_work_mem = '512MB'")
        await owner.execute(NUMBERED)
        indexes = await owner.fetch(INDEXES)
        for index in indexes:
            await owner.execute(_drop(index))
        await owner.execute(ORDERS, *given)
        await owner.execute(ITEMS, *given)
        await owner.execute(SECOND_ITEMS, *given)
        for index in indexes:
            await owner.execute(_make(index))
        await owner.execute(COUNTED)
        await owner.execute(UNSOLD)
        await owner.execute("VACUUM ANALYZE orders, order_items, offers")
        await owner.execute("RESET work_mem; RESET maintenance_work_mem")
        return many


def _md5(n: int) -> str:
    return md5(b"%d" % n, usedforsecurity=False).hexdigest()


def _drop(index: Any) -> str:
    if index["constrains"]:
        return f"ALTER TABLE {index['of_table']} DROP CONSTRAINT {index['name']}"
    return f"DROP INDEX {index['name']}"


def _make(index: Any) -> str:
    if index["constrains"]:
        name, table = index["name"], index["of_table"]
        return f"ALTER TABLE {table} ADD CONSTRAINT {name} {index['definition']}"
    return str(index["definition"])
