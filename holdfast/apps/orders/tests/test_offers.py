"""What is sold is what the catalog says, within seconds; and without it for a while."""

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from holdfast.apps.orders.offers import actions, client
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.tests.shelf import Shelf, Wire
from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.tests.serving import Answer, Client

STALE_S = 2.0


over_both_wires = pytest.mark.parametrize("wire", ["http", "grpc"])
that_grows_stale = pytest.mark.parametrize("stale_s", [STALE_S])


@pytest.fixture
def wire() -> Wire:
    return "http"


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> Iterator[Shelf]:
    """Asked often enough for tests that are quick."""
    monkeypatch.setattr(actions, "ASK_AGAIN_S", 0.1)
    monkeypatch.setattr(actions, "ASK_FIRST_S", 1.2)
    monkeypatch.setattr(actions, "LEAVE_CATALOG_ALONE_S", 0.1)
    with Shelf.standing(wire) as running:
        yield running


@pytest.fixture
def stale_s() -> float:
    return 600


@pytest.fixture
def options(catalog: Shelf, stale_s: float) -> Options:
    return Options(catalog_url=catalog.url, stale_s=stale_s)


async def until(
    shop: Shop, offer: UUID, status: int, *, api: Client | None = None, **expected: Any
) -> Answer:
    """Somebody new buys, until the answer is this one."""
    async with asyncio.timeout(60):
        while True:
            answer = await shop.buy(offer, api=api)
            told = answer.data["items"][0] if answer.status == 201 else answer.body
            if answer.status == status and expected.items() <= told.items():
                return answer
            await asyncio.sleep(0.02)


@over_both_wires
async def test_an_offer_that_is_new_here_is_sold_as_the_catalog_says(
    shop: Shop, other: Client, catalog: Shelf
) -> None:
    offer = catalog.put(3, price_krw=12_900, name="Green hat", per_customer=1)
    token = shop.issuer.token()
    bought = await shop.buy(offer, token=token)
    assert bought.data["items"][0] == {
        "offer_id": str(offer),
        "name": "Green hat",
        "quantity": 1,
        "unit_price_krw": 12_900,
        "place": 1,
    }
    assert (await shop.buy(offer, token=token, api=other)).status == 409
    assert await shop.ledger(offer) == {"initial": 3, "remaining": 2, "held": 1, "sold": 0}


@over_both_wires
async def test_an_offer_that_nobody_knows_is_not_found(shop: Shop, catalog: Shelf) -> None:
    known, unknown = catalog.put(10), uuid4()
    for basket in ([unknown], [known, unknown]):
        refused = await shop.buy(*basket)
        assert (refused.status, refused.body["type"]) == (404, "/problems/unknown-offer")
    assert (await shop.ledger(known))["remaining"] == 10
    assert await shop.db.fetchval("SELECT count(*) FROM offers WHERE id = $1", unknown) == 0


async def test_a_crowd_at_the_opening_asks_the_catalog_once_or_twice(
    shop: Shop, catalog: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "ASK_AGAIN_S", 600)  # however slowly the crowd is served
    monkeypatch.setattr(actions, "ASK_FIRST_S", 600)
    offer = catalog.put(100)
    answers = await asyncio.gather(*(shop.buy(offer) for _ in range(100)))
    assert {answer.status for answer in answers} == {201}
    assert catalog.asked <= 5


async def test_a_change_in_the_catalog_takes_effect_while_it_sells(
    shop: Shop, catalog: Shelf
) -> None:
    offer = catalog.put(10_000)
    assert (await shop.buy(offer)).status == 201
    catalog.change(offer, price_krw=900, name="Blue mug, last ones")
    await until(shop, offer, 201, unit_price_krw=900, name="Blue mug, last ones")
    catalog.change(offer, per_customer=1)
    token = shop.issuer.token()
    assert (await shop.buy(offer, token=token)).status == 201
    async with asyncio.timeout(60):
        while (await shop.buy(offer, token=token)).status != 409:
            await asyncio.sleep(0.02)
    catalog.change(offer, opens_at="2127-01-01T00:00:00Z")
    await until(shop, offer, 425)
    catalog.change(offer, opens_at=None, closes_at="2020-01-02T00:00:00Z")
    await until(shop, offer, 410)
    catalog.change(offer, closes_at=None)
    await until(shop, offer, 201)


async def test_a_quota_is_raised_and_lowered_below_what_was_sold(
    shop: Shop, catalog: Shelf, db: asyncpg.Connection
) -> None:
    offer = catalog.put(3)
    bought = [await shop.buy(offer) for _ in range(3)]
    await until(shop, offer, 409)
    catalog.change(offer, quantity=4)
    bought.append(await until(shop, offer, 201))
    assert [answer.data["items"][0]["place"] for answer in bought] == [1, 2, 3, 4]
    catalog.change(offer, quantity=1)
    await asyncio.sleep(0.3)
    for _ in range(3):
        await until(shop, offer, 409)
        await asyncio.sleep(0.15)
    assert await shop.ledger(offer) == {"initial": 4, "remaining": 0, "held": 4, "sold": 0}
    catalog.change(offer, quantity=10)
    await until(shop, offer, 201)
    assert await shop.ledger(offer) == {"initial": 10, "remaining": 5, "held": 5, "sold": 0}
    told = await db.fetch(
        """SELECT (payload->>'changes')::int AS changes, (payload->>'remaining')::int AS remaining
           FROM outbox WHERE type = 'stock.changed' ORDER BY 1"""
    )
    remaining = [row["remaining"] for row in told]
    assert remaining == [2, 1, 0, 1, 0, 6, 5]
    assert [row["changes"] for row in told] == list(range(1, 8))


@over_both_wires
async def test_an_offer_that_is_withdrawn_is_over_and_its_buyers_keep_theirs(
    shop: Shop, other: Client, catalog: Shelf
) -> None:
    offer, token, key = catalog.put(10), shop.issuer.token(), str(uuid4())
    bought = await shop.buy(offer, token=token, key=key)
    del catalog.offers[offer]
    for api in (shop.api, other):
        shop.api = api
        await until(shop, offer, 410)
        again = await shop.buy(offer, token=token, key=key)
        assert (again.status, again.body) == (201, bought.body)
    catalog.put(10, offer_id=offer)
    await until(shop, offer, 201)


async def test_the_first_who_buys_after_a_while_does_not_buy_at_an_old_price(
    shop: Shop, other: Client, catalog: Shelf
) -> None:
    offer = catalog.put(10)
    for api in (shop.api, other):
        assert (await shop.buy(offer, api=api)).status == 201
    await asyncio.sleep(1.3)
    catalog.change(offer, price_krw=2_000)
    for api in (shop.api, other):
        assert (await shop.buy(offer, api=api)).data["total_krw"] == 2_000


@over_both_wires
@that_grows_stale
async def test_while_the_catalog_is_away_known_prices_hold_for_a_while_and_no_longer(
    shop: Shop, other: Client, catalog: Shelf
) -> None:
    offer, unknown = catalog.put(10_000), catalog.put(10)
    unknown_until = perf_counter()
    assert (await shop.buy(offer)).status == 201
    catalog.stop()
    away_since = asked_at = perf_counter()
    while (answer := await shop.buy(offer)).status == 201:
        assert asked_at < away_since + STALE_S
        await asyncio.sleep(0.02)
        asked_at = perf_counter()
    assert perf_counter() > unknown_until + STALE_S
    elsewhere = await until(shop, offer, 503, api=other)
    for refused in (answer, await shop.buy(unknown), elsewhere):
        assert (refused.status, refused.body["type"]) == (503, "/problems/catalog-away")
        assert refused.headers["Retry-After"] == "1"
    catalog.change(offer, price_krw=700)
    catalog.start()
    await until(shop, offer, 201, unit_price_krw=700)
    await until(shop, offer, 201, api=other, unit_price_krw=700)


async def test_a_worker_that_starts_while_the_catalog_is_away_sells_by_what_others_know(
    shop: Shop, other: Client, catalog: Shelf
) -> None:
    offer = catalog.put(10)
    assert (await shop.buy(offer)).status == 201
    catalog.stop()
    assert (await shop.buy(offer, api=other)).status == 201
    catalog.start()


@over_both_wires
async def test_a_catalog_that_hangs_keeps_nobody_waiting(
    shop: Shop, catalog: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWERS_WITHIN_S", 4)  # far longer than an order takes
    monkeypatch.setattr(actions, "ASK_FIRST_S", 600)
    offer = catalog.put(10_000)

    async def buy() -> None:
        asked_at = perf_counter()
        assert (await shop.buy(offer)).status == 201
        assert perf_counter() - asked_at < 3

    await buy()
    asked, catalog.takes_s = catalog.asked, 10
    while catalog.asked < asked + 2:  # the first time it was waited for in vain
        await buy()
        await asyncio.sleep(0.02)
    monkeypatch.setattr(actions, "ASK_FIRST_S", 0)  # by now its word is old enough to ask first
    for _ in range(20):
        await buy()
    catalog.takes_s = 0
    await until(shop, offer, 201)


@over_both_wires
async def test_a_catalog_that_lies_is_a_catalog_that_is_away(shop: Shop, catalog: Shelf) -> None:
    """What is a lie is in `test_catalog_client`."""
    offer = catalog.put(10_000)
    await until(shop, offer, 201)
    catalog.lie = (500, b"{}") if catalog.url.startswith("http") else (0, b"<html>")
    refused = await shop.buy(uuid4())
    assert (refused.status, refused.body["type"]) == (503, "/problems/catalog-away")
    assert (await shop.buy(offer)).data["total_krw"] == 1_000
    catalog.lie = None
    await until(shop, catalog.put(1), 201)


async def test_everybody_comes_at_once_for_an_offer_that_is_new_to_a_worker(
    shop: Shop, catalog: Shelf
) -> None:
    """More than the pool lets wait: they must share one look into the table."""
    tokens = [shop.issuer.token() for _ in range(700)]
    offer = catalog.put(700, offer_id=await shop.offer(stock=700), per_customer=1)
    answers = await asyncio.gather(*(shop.buy(offer, token=token) for token in tokens))
    assert {answer.status for answer in answers} == {201}
