"""What orders show of themselves: the units on sale, who waits, and where money or time hangs."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from holdfast.apps.orders.gauges import show_waiting_for_ever
from holdfast.apps.orders.life.queries import select_overdue_s
from holdfast.apps.orders.offers.queries import select_units_on_sale
from holdfast.apps.orders.payments.queries import select_payments_open, update_payment_given_back
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.explained import Explained
from holdfast.core.telemetry.metrics import Registry

OFFERS = """
INSERT INTO offers
  (id, kind, product_id, name, price_krw, opens_at, closes_at, initial, remaining, held, sold)
SELECT
  uuidv7(), kind, uuidv7(), 'Blue mug', 1000, now() + from_h * interval '1 h',
  now() + to_h * interval '1 h', 10, 5, 3, 2
FROM (VALUES
  ('deal', -1, 1), ('deal', -2, 2), ('deal', -2, -1), ('deal', 1, 2), ('product', -1, 1)
) AS told (kind, from_h, to_h)
"""
ORDERS = """
INSERT INTO orders (customer_id, key, digest, status, total_krw, held_until)
SELECT uuidv7(), n::text, '', status, 1000, now() + in_s * interval '1 s'
FROM (VALUES
  (1, 'reserved', 60), (2, 'reserved', -9), (3, 'reserved', -5), (4, 'paid', -600)
) AS told (n, status, in_s)
RETURNING id
"""
PAYMENT = """
INSERT INTO payments (order_id, amount_krw, state, asked_at, open_since, next_try_at)
VALUES ($1, 1000, $2, now() - interval '1 h', now() - $3 * interval '1 s', now() + interval '1 h')
"""
IN_LINE = "INSERT INTO waiting (offer_id, customer_id) SELECT id, uuidv7() FROM offers"
A_YEAR = """
WITH sold AS (
  INSERT INTO offers (id, kind, product_id, name, price_krw, opens_at, closes_at, initial, remaining)
  SELECT uuidv7(), 'deal', uuidv7(), 'Blue mug', 1000, now() - n * interval '1 h', now(), 10, 10
  FROM generate_series(2, 10000) AS n
), ordered AS (
  INSERT INTO orders (id, customer_id, key, digest, status, total_krw, held_until)
  SELECT uuidv7(), uuidv7(), n::text, '', 'paid', 1000, now() FROM generate_series(1, 10000) AS n
  RETURNING id
)
INSERT INTO payments (order_id, amount_krw, state, next_try_at)
SELECT id, 1000, 'approved', now() FROM ordered
"""


async def shown(here: Orders) -> dict[str, float]:
    registry = Registry()
    showing = asyncio.create_task(show_waiting_for_ever(here.db, registry))
    while "\nholdfast_payments_oldest_open_seconds " not in registry.render():  # the last one set
        await asyncio.sleep(0.01)
    showing.cancel()
    told = re.findall(r"^holdfast_(\S+) (\S+)$", registry.render(), re.MULTILINE)
    return {name: float(value) for name, value in told}


async def made(db: asyncpg.Connection) -> list[UUID]:
    return [row["id"] for row in await db.fetch(ORDERS)]


async def test_nothing_is_shown_as_nothing(here: Orders) -> None:
    assert set((await shown(here)).values()) == {0}


async def test_units_count_while_their_deal_is_open(here: Orders, db: asyncpg.Connection) -> None:
    await db.execute(OFFERS)
    await db.execute(IN_LINE)
    told = await shown(here)
    states = ("remaining", "held", "sold")
    assert [told[f'units_on_sale{{state="{state}"}}'] for state in states] == [10, 6, 4]
    assert told["line_people"] == 5


async def test_an_order_is_late_when_its_time_is_over(here: Orders, db: asyncpg.Connection) -> None:
    await made(db)
    assert 9 <= (await shown(here))["orders_overdue_seconds"] < 9 + 60
    await db.execute("UPDATE orders SET status = 'expired' WHERE held_until < now()")
    assert (await shown(here))["orders_overdue_seconds"] == 0


async def test_a_payment_is_open_until_the_provider_has_answered(
    here: Orders, db: asyncpg.Connection
) -> None:
    states = ("asked", "refunding", "approved", "declined")
    for order_id, state, since_s in zip(await made(db), states, (7, 8, 99, 99), strict=True):
        await db.execute(PAYMENT, order_id, state, since_s)
    told = await shown(here)
    assert told['payments_open{state="asked"}'] == 1
    assert told['payments_open{state="refunding"}'] == 1
    assert 8 <= told["payments_oldest_open_seconds"] < 8 + 60


async def test_money_waits_to_be_given_back_since_it_was_first_asked_for(
    here: Orders, db: asyncpg.Connection
) -> None:
    order_id, *_ = await made(db)
    await db.execute(PAYMENT, order_id, "approved", 99)
    await update_payment_given_back(here.db, patience=timedelta(), order_id=order_id)
    assert (await shown(here))["payments_oldest_open_seconds"] < 60
    await db.execute("UPDATE payments SET open_since = open_since - interval '99 s'")
    await update_payment_given_back(here.db, patience=timedelta(), order_id=order_id)
    assert (await shown(here))["payments_oldest_open_seconds"] >= 99


@pytest.mark.parametrize("select", [select_units_on_sale, select_overdue_s, select_payments_open])
async def test_what_is_counted_is_found_among_all_by_an_index(
    db: asyncpg.Connection, select: Callable[[Explained], Awaitable[object]]
) -> None:
    """Also by a plan that was made when there was hardly any."""
    explained = Explained(db, generic=True)

    async def explain() -> None:
        with suppress(ValueError):  # it is not answered
            await select(explained)

    await explain()
    await db.execute(A_YEAR)
    await explain()
    await db.execute("ANALYZE offers, orders, payments")
    await explain()
    assert len(explained.plans) == 3
    for plan in explained.plans:
        assert not plan.read_whole
        assert plan.pages < 10
