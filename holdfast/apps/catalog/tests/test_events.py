"""What the catalog tells other services keeps to its AsyncAPI file."""

import json

import asyncpg

from holdfast.apps.catalog.tests.desk import DEALS, PRODUCTS, Desk
from holdfast.core.manifest import find
from holdfast.core.tests.events import misfits, promised

CATALOG = find("catalog")


async def test_every_event_of_a_product_and_a_deal_keeps_to_its_contract(
    desk: Desk, db: asyncpg.Connection
) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"])
    await desk.ask("PATCH", f"{PRODUCTS}/{product['id']}", {"price_krw": 11_900})
    await desk.ask("PATCH", f"{DEALS}/{deal['id']}", {"quota": 90})
    await desk.ask("DELETE", f"{DEALS}/{deal['id']}")
    assert (await desk.ask("DELETE", f"{PRODUCTS}/{product['id']}")).status == 204

    rows = await db.fetch("SELECT type, payload FROM outbox")
    events = [(row["type"], json.loads(row["payload"])) for row in rows]
    assert {kind for kind, _ in events} == promised(CATALOG).keys()
    assert not list(misfits(CATALOG, events))
