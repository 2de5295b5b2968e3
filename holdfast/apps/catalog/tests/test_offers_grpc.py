"""Offers over gRPC: the same as over HTTP, in every value."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from holdfast.apps.catalog.main import service
from holdfast.apps.catalog.resources import Catalog
from holdfast.apps.catalog.tests.desk import DEALS, NOBODY, OFFERS, PRODUCTS, Desk
from holdfast.cli.servers import free_port
from holdfast.core.rpc import channel as rpc
from holdfast.core.rpc.channel import CallError, Channel, connected
from holdfast.core.rpc.server import answering
from holdfast.stubs.catalog.v1.offers_pb2 import ListOffersRequest, ListOffersResponse, Offer


@pytest.fixture
async def channel(here: Catalog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Channel]:
    """To another worker than the desk's."""
    monkeypatch.setattr(rpc, "CONNECT_WITHIN_S", 30)  # however slow this machine is
    monkeypatch.setattr(rpc, "PONG_WITHIN_S", 30)
    address = f"127.0.0.1:{free_port()}"
    offered = service(here.settings, here.options)
    async with (
        answering(offered, here, address, drain_s=2),
        connected(f"grpc://{address}", largest_answer=100_000) as opened,
    ):
        yield opened


async def list_offers(channel: Channel, *ids: str) -> Sequence[Offer]:
    method = channel.method("holdfast.catalog.v1.Offers/ListOffers", ListOffersResponse)
    return (await method(ListOffersRequest(ids=ids), within_s=30)).offers


def message_of(offer: dict[str, Any]) -> Offer:
    """What JSON says, as a message; a field that the message lacks is an error."""
    return ParseDict({**offer, "kind": f"KIND_{offer['kind'].upper()}"}, Offer())


async def test_list_offers_tells_over_grpc_what_it_tells_over_http(
    desk: Desk, channel: Channel
) -> None:
    product, free = await desk.product(name="머그컵"), await desk.product(price_krw=0, stock=0)
    deal = await desk.deal(product["id"], per_customer=2, admit_per_s=20)
    over = await desk.deal(product["id"])
    assert (await desk.ask("DELETE", f"{DEALS}/{over['id']}")).status == 204
    ids = [NOBODY, deal["id"], product["id"], over["id"], free["id"], deal["id"]]
    asked = "&".join(f"id={one}" for one in ids)
    told = (await desk.ask("GET", f"{OFFERS}?{asked}")).data
    assert len(told) == 4
    assert list(await list_offers(channel, *ids)) == [message_of(one) for one in told]


async def test_list_offers_tells_of_a_change_at_once_over_grpc(
    desk: Desk, channel: Channel
) -> None:
    product = await desk.product()
    (before,) = await list_offers(channel, product["id"])
    await desk.ask("POST", f"{PRODUCTS}/{product['id']}/stock", {"change": -499})
    (after,) = await list_offers(channel, product["id"])
    assert (before.quantity, after.quantity) == (500, 1)


async def test_list_offers_refuses_over_grpc_what_it_cannot_mean(channel: Channel) -> None:
    for ids in ([], [""], ["mug"], ["\0"], [NOBODY] * 51):
        with pytest.raises(CallError) as refused:
            await list_offers(channel, *ids)
        assert refused.value.status == "INVALID_ARGUMENT"
    assert list(await list_offers(channel, *[NOBODY] * 50)) == []
