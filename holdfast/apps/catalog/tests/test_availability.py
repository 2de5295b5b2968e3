"""What orders tell of stock is shown as it was told last, and lists know at once what is sold out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from holdfast.apps.catalog.availability.actions import keep_availability
from holdfast.apps.catalog.resources import Catalog
from holdfast.apps.catalog.tests.desk import DEALS, NOBODY, Desk
from holdfast.core.broker.redis import RedisSource
from holdfast.core.streams import Consumer, consume_for_ever
from holdfast.core.tests.serving import Client


@pytest.fixture
async def deal(desk: Desk) -> dict[str, Any]:
    return await desk.deal((await desk.product(stock=40))["id"], quota=10)


@pytest.fixture
def orders(here: Catalog) -> Consumer:
    source = RedisSource(here.redis, "events:orders")
    return Consumer(here.db, source, {"stock.changed": keep_availability})


async def tell(orders: Consumer, offer_id: str, *states: Sequence[int]) -> None:
    """As orders' relay does: (remaining, held, sold, changes)."""
    for remaining, held, sold, changes in states:
        payload = {
            "offer_id": offer_id,
            "remaining": remaining,
            "held": held,
            "sold": sold,
            "changes": changes,
        }
        fields: dict[Any, Any] = {
            "id": str(uuid4()),
            "at": "2027-03-01T09:30:00.000000+00:00",
            "type": "stock.changed",
            "payload": msgspec.json.encode(payload),
        }
        assert isinstance(orders.source, RedisSource)
        await orders.source.redis.xadd(orders.stream, fields)


async def stock(api: Client, offer_id: str) -> Any:
    return (await api.call("GET", f"/api/v1/offers/{offer_id}/stock")).data


async def test_show_stock_is_all_there_is_before_anything_was_told(
    api: Client, deal: dict[str, Any]
) -> None:
    assert await stock(api, deal["id"]) == {"remaining": 10, "held": 0, "sold": 0}
    assert await stock(api, deal["product_id"]) == {"remaining": 40, "held": 0, "sold": 0}


async def test_show_stock_as_it_was_told_last(
    api: Client, orders: Consumer, deal: dict[str, Any]
) -> None:
    await tell(orders, deal["id"], (9, 1, 0, 1), (7, 1, 2, 3), (8, 1, 1, 2))
    await orders.consume()
    assert await stock(api, deal["id"]) == {"remaining": 7, "held": 1, "sold": 2}
    await tell(orders, deal["id"], (8, 1, 1, 2))
    await orders.consume()
    assert await stock(api, deal["id"]) == {"remaining": 7, "held": 1, "sold": 2}


@pytest.mark.parametrize("offer_id", [NOBODY, "mug", "%00"])
async def test_show_stock_of_what_there_is_not(api: Client, offer_id: str) -> None:
    assert (await api.call("GET", f"/api/v1/offers/{offer_id}/stock")).status == 404


async def test_an_offer_that_the_catalog_does_not_know_harms_nobody(
    api: Client, orders: Consumer, deal: dict[str, Any]
) -> None:
    await tell(orders, str(uuid4()), (0, 1, 0, 1))
    await tell(orders, deal["id"], (9, 1, 0, 1))
    await orders.consume()
    assert await stock(api, deal["id"]) == {"remaining": 9, "held": 1, "sold": 0}


async def test_lists_of_deals_are_made_anew_when_one_is_sold_out_or_back(
    here: Catalog, orders: Consumer, deal: dict[str, Any], db: asyncpg.Connection
) -> None:
    async def touched(offer_id: str, state: Sequence[int]) -> bool:
        before = await db.fetchval("SELECT number FROM epoch_head")
        await tell(orders, offer_id, state)
        await orders.consume()
        subjects = await db.fetchval("SELECT subjects FROM epoch_changes WHERE number > $1", before)
        assert subjects in (None, ["deals"])
        return subjects is not None

    assert not await touched(deal["id"], (1, 9, 0, 1))
    assert await touched(deal["id"], (0, 10, 0, 2))
    assert not await touched(deal["id"], (0, 9, 1, 3))
    assert not await touched(deal["id"], (1, 9, 0, 1))  # late, and no news any more
    assert await touched(deal["id"], (2, 7, 1, 4))
    assert not await touched(deal["product_id"], (0, 40, 0, 1))  # in no list of deals


async def test_every_worker_shows_within_moments_that_a_deal_is_sold_out_or_back(
    api: Client, other: Client, consuming: Consumer, deal: dict[str, Any]
) -> None:
    async def shown(worker: Client) -> tuple[bool, bool]:
        listed = await worker.call("GET", DEALS)
        one = await worker.call("GET", f"{DEALS}/{deal['id']}")
        return listed.data[0]["sold_out"], one.data["sold_out"]

    assert [await shown(api), await shown(other)] == [(False, False)] * 2
    for changes, remaining in enumerate((0, 1, 0), 1):
        await tell(consuming, deal["id"], (remaining, 10 - remaining, 0, changes))
        for worker in (api, other):
            while await shown(worker) != (remaining == 0, remaining == 0):
                await asyncio.sleep(0.01)


@pytest.fixture
async def consuming(orders: Consumer) -> AsyncIterator[Consumer]:
    task = asyncio.create_task(consume_for_ever(orders))
    yield orders
    task.cancel()
    await asyncio.wait([task])
