"""What orders tell other services keeps to its AsyncAPI file: every event of a sale, as it is stored."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from holdfast.apps.orders.life.actions import expire_orders
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.stand_in import application
from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.manifest import find
from holdfast.core.tests.events import misfits, promised
from holdfast.core.tests.serving import served

ORDERS = find("orders")


@pytest.fixture
async def options() -> AsyncIterator[Options]:
    """With a payment provider."""
    async with served(application("stand-in")) as url:
        yield Options(payment_url=url, payment_key="stand-in")


async def do(shop: Shop, token: str, what: str, order_id: str) -> None:
    body = {"method": "card-approved"} if what == "pay" else None
    done = await shop.api.call("POST", f"/api/v1/orders/{order_id}/{what}", body, token=token)
    assert done.status == 200, done.body


async def test_every_event_of_a_sale_keeps_to_its_contract(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=3)
    cancels, refunds, forgets, waits = (shop.issuer.token() for _ in range(4))
    orders = {
        token: (await shop.buy(offer, token=token)).data["id"]
        for token in (cancels, refunds, forgets)
    }
    waiting = await shop.api.call("POST", f"/api/v1/offers/{offer}/waiting", token=waits)
    assert waiting.status == 201
    await do(shop, refunds, "pay", orders[refunds])
    await do(shop, refunds, "refund", orders[refunds])
    await do(shop, cancels, "cancel", orders[cancels])
    await db.execute("UPDATE orders SET held_until = now() WHERE id = $1", orders[forgets])
    assert await expire_orders(here.db, 600) == 1

    rows = await db.fetch("SELECT type, payload FROM outbox")
    events = [(row["type"], json.loads(row["payload"])) for row in rows]
    assert {kind for kind, _ in events} == promised(ORDERS).keys()
    assert not list(misfits(ORDERS, events))


async def test_stock_is_told_as_it_is_after_every_change(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=2)
    token = shop.issuer.token()
    order = await shop.buy(offer, token=token)
    await do(shop, token, "pay", order.data["id"])
    await shop.buy(offer)
    await do(shop, token, "refund", order.data["id"])
    rows = await db.fetch("SELECT payload FROM outbox WHERE type = 'stock.changed'")
    told = sorted((json.loads(row["payload"]) for row in rows), key=lambda one: one["changes"])
    assert told == [
        {"offer_id": str(offer), "remaining": 1, "held": 1, "sold": 0, "changes": 1},
        {"offer_id": str(offer), "remaining": 1, "held": 0, "sold": 1, "changes": 2},
        {"offer_id": str(offer), "remaining": 0, "held": 1, "sold": 1, "changes": 3},
        {"offer_id": str(offer), "remaining": 1, "held": 1, "sold": 0, "changes": 4},
    ]
