"""The catalog is asked over HTTP or gRPC, and either way it is an answer or the catalog is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from holdfast.apps.orders.offers import client
from holdfast.apps.orders.offers.client import Catalog, catalog_at
from holdfast.apps.orders.offers.schemas import CatalogAwayError, Offer
from holdfast.apps.orders.resources import other_services
from holdfast.apps.orders.tests.shelf import Said, Shelf, Wire, deal, on_the_wire
from holdfast.core.rpc import channel
from holdfast.stubs.catalog.v1 import offers_pb2

wires = pytest.fixture(params=["http", "grpc"])


@wires
def shelf(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    with Shelf.standing(request.param) as running:
        yield running


@pytest.fixture
async def catalog(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Catalog]:
    monkeypatch.setattr(channel, "CONNECT_WITHIN_S", 30)  # however slow this machine is
    monkeypatch.setattr(channel, "PONG_WITHIN_S", 30)
    async with other_services() as http, catalog_at(shelf.url, http) as opened:
        yield opened


async def until(catalog: Catalog, offer: UUID) -> Offer:
    """What it says, once it does."""
    async with asyncio.timeout(30):
        while True:
            try:
                return (await catalog.select_offers([offer]))[offer]
            except CatalogAwayError:
                await asyncio.sleep(0.02)


async def test_an_offer_is_told_in_every_value(shelf: Shelf, catalog: Catalog) -> None:
    product = uuid4()
    told: dict[str, Any] = {
        "product_id": str(product),
        "name": "머그컵",
        "price_krw": 0,
        "quantity": 10**12,
    }
    limits: dict[str, Any] = {
        "per_customer": 2,
        "admit_per_s": 100,
        "closes_at": "2127-01-01T09:00:00.123456+09:00",
    }
    full, plain = shelf.put(**told, **limits), shelf.put(0, kind="product", opens_at=None)
    there = await catalog.select_offers([full, uuid4(), plain])
    assert there.keys() == {full, plain}
    assert there[full] == Offer(
        id=full,
        kind="deal",
        product_id=product,
        name="머그컵",
        price_krw=0,
        quantity=10**12,
        opens_at=datetime(2020, 1, 1, tzinfo=UTC),
        closes_at=datetime(2127, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC),
        per_customer=2,
        admit_per_s=100,
    )
    assert (there[plain].kind, there[plain].quantity, there[plain].opens_at) == ("product", 0, None)


def in_json(**said: Any) -> Said:
    return 200, json.dumps({"data": [{**deal(10), **said}]}).encode()


def in_a_message(**said: Any) -> Said:
    return 0, on_the_wire({**deal(10), **said})


def without(field: str) -> Said:
    answer = offers_pb2.ListOffersResponse.FromString(on_the_wire(deal(10)))
    answer.offers[0].ClearField(field)
    return 0, answer.SerializeToString()


def at_second(second: int) -> Said:
    answer = offers_pb2.ListOffersResponse.FromString(on_the_wire(deal(10)))
    answer.offers[0].opens_at.seconds = second
    return 0, answer.SerializeToString()


LIES: dict[Wire, dict[str, Said]] = {
    "http": {
        "an error": (500, b"{}"),
        "another place": (307, b""),
        "no JSON": (200, b"<html>"),
        "not UTF-8": (200, b"\xff\xfe"),
        "nothing": (200, b""),
        "something else": (200, b'{"offers": []}'),
        "too much": (200, b'{"data": []}'.ljust(1_000_000)),
        "too deep": (200, b"[" * 100_000),
        "a price as text": in_json(price_krw="1"),
        "a price below zero": in_json(price_krw=-1),
        "a price beyond all": in_json(price_krw=2**63),
        "a quantity beyond all": in_json(quantity=10**30),
        "no one may buy it": in_json(per_customer=0),
        "too many may buy it": in_json(per_customer=2**31),
        "a time without zone": in_json(opens_at="2027-03-01T00:00:00"),
        "a name with NUL": in_json(name="mug\0"),
        "another kind": in_json(kind="auction"),
    },
    "grpc": {
        "an error": (13, b""),
        "nobody may ask": (16, b""),
        "no message": (0, b"<html>"),
        "cut off": (0, on_the_wire(deal(10))[:-1]),
        "too much": (0, on_the_wire(deal(10, name="x" * 1_000_000))),
        "no id": without("id"),
        "an id that is none": in_a_message(id="mug"),
        "no price": without("price_krw"),
        "a price below zero": in_a_message(price_krw=-1),
        "no quantity": without("quantity"),
        "a quantity beyond all": in_a_message(quantity=2**63 - 1),
        "no one may buy it": in_a_message(per_customer=0),
        "a time beyond all": at_second(2**62),
        "a time before all": at_second(-(2**62)),
        "a name with NUL": in_a_message(name="mug\0"),
        "no kind": without("kind"),
        "another kind": (0, on_the_wire(deal(10)).replace(b"\x10\x01", b"\x10\x09")),
    },
}


async def test_what_is_not_in_the_contract_is_no_answer(shelf: Shelf, catalog: Catalog) -> None:
    offer = shelf.put(10)
    for what, lie in LIES[shelf.wire].items():
        shelf.lie = lie
        with pytest.raises(CatalogAwayError):
            raise AssertionError(what, await catalog.select_offers([offer]))
    shelf.lie = None
    assert (await catalog.select_offers([offer]))[offer].quantity == 10


async def test_a_catalog_that_is_too_slow_is_not_waited_for(
    shelf: Shelf, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = shelf.put(10)
    monkeypatch.setattr(client, "ANSWERS_WITHIN_S", 0.05)
    shelf.takes_s = 1
    with pytest.raises(CatalogAwayError):
        await catalog.select_offers([offer])
    shelf.takes_s = 0
    monkeypatch.setattr(client, "ANSWERS_WITHIN_S", 1.0)
    assert (await until(catalog, offer)).quantity == 10


async def test_a_catalog_that_stops_is_found_when_it_is_back(
    shelf: Shelf, catalog: Catalog
) -> None:
    offer = shelf.put(10)
    assert (await catalog.select_offers([offer])).keys() == {offer}
    shelf.stop()
    with pytest.raises(CatalogAwayError):
        await catalog.select_offers([offer])
    shelf.change(offer, price_krw=700)
    shelf.start()
    assert (await until(catalog, offer)).price_krw == 700
