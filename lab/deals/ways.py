"""A flash sale as it is usually written, each order for itself: what merged orders are compared with.

naive        read how many are left, then write one less
row_lock     SELECT ... FOR UPDATE, then write, in one transaction
conditional  one statement: UPDATE ... WHERE remaining > 0, with the order's rows
lua          a script in Redis counts down, then one statement writes the order
slots        a row for each unit: the first that nobody has locked

Each keeps the key and writes the order, its item and its event into the tables of orders; the stock
is in tables of their own, which `lab.deals.sale` makes.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

from holdfast.apps.orders.placing.schemas import Asked
from holdfast.apps.orders.resources import Orders

# ruff: noqa: S608 - nothing in these statements comes from elsewhere

WRITE = """made AS (
  INSERT INTO orders (customer_id, key, digest, total_krw, held_until)
  SELECT $1, $2, $3, 1000, now() + interval '10 min' FROM taken
  RETURNING id
), item AS (
  INSERT INTO order_items SELECT id, 0, $4, $1, taken.place, 1, 1000, 'Blue mug' FROM made, taken
), event AS (
  INSERT INTO outbox (type, payload)
  SELECT 'order.placed',
    jsonb_build_object('order_id', id, 'customer_id', $1::uuid, 'total_krw', 1000)
  FROM made
)
SELECT id FROM made"""
WITH_PLACE = f"WITH taken AS (SELECT $5::bigint AS place), {WRITE}"
CONDITIONAL = f"""WITH taken AS (
  UPDATE lab_stock SET remaining = remaining - 1, places = places + 1
  WHERE offer_id = $4 AND remaining > 0 RETURNING places AS place
), {WRITE}"""
SLOT = f"""WITH taken AS (
  UPDATE lab_slots SET taken = true
  WHERE offer_id = $4 AND place = (
    SELECT place FROM lab_slots WHERE offer_id = $4 AND NOT taken
    ORDER BY place LIMIT 1 FOR UPDATE SKIP LOCKED
  )
  RETURNING place
), {WRITE}"""
COUNT_DOWN = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left <= 0 then return 0 end
redis.call('SET', KEYS[1], left - 1)
return redis.call('INCR', KEYS[1] .. ':places')
"""


@dataclass(frozen=True)
class Sale:
    """One order under way."""

    here: Orders
    asked: Asked

    @property
    def offer_id(self) -> UUID:
        return self.asked.items[0].offer_id

    @property
    def facts(self) -> tuple[UUID, str, bytes, UUID]:
        return (self.asked.customer_id, self.asked.key, self.asked.digest, self.offer_id)


async def naive(sale: Sale) -> UUID | None:
    async with sale.here.db.transaction() as db:
        left = await db.fetchval(
            "SELECT remaining FROM lab_stock WHERE offer_id = $1", sale.offer_id
        )
        if not left:
            return None
        place = await db.fetchval("SELECT nextval('lab_places')")
        order_id: UUID = await db.fetchval(WITH_PLACE, *sale.facts, place)
        await db.execute(
            "UPDATE lab_stock SET remaining = $1 WHERE offer_id = $2", left - 1, sale.offer_id
        )
        return order_id


async def row_lock(sale: Sale) -> UUID | None:
    async with sale.here.db.transaction() as db:
        stock = await db.fetchrow(
            "SELECT remaining, places FROM lab_stock WHERE offer_id = $1 FOR UPDATE", sale.offer_id
        )
        if not stock["remaining"]:
            return None
        order_id: UUID = await db.fetchval(WITH_PLACE, *sale.facts, stock["places"] + 1)
        await db.execute(
            "UPDATE lab_stock SET remaining = remaining - 1, places = places + 1 WHERE offer_id = $1",
            sale.offer_id,
        )
        return order_id


async def conditional(sale: Sale) -> UUID | None:
    order_id: UUID | None = await sale.here.db.fetchval(CONDITIONAL, *sale.facts)
    return order_id


async def lua(sale: Sale) -> UUID | None:
    """A crash between the two calls loses a unit, and an emptied Redis the whole sale."""
    redis: Redis = sale.here.redis
    place = await redis.eval(COUNT_DOWN, 1, f"lab:{sale.offer_id}")
    if not place:
        return None
    order_id: UUID = await sale.here.db.fetchval(WITH_PLACE, *sale.facts, place)
    return order_id


async def slots(sale: Sale) -> UUID | None:
    order_id: UUID | None = await sale.here.db.fetchval(SLOT, *sale.facts)
    return order_id


Way = Callable[[Sale], Awaitable[UUID | None]]
WAYS: dict[str, Way] = {way.__name__: way for way in (naive, row_lock, conditional, lua, slots)}
