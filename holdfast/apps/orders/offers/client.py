"""The catalog, as orders ask it: what these offers are at this moment, over HTTP or gRPC.

By the scheme of its address; orders cannot tell the difference. Whatever is not an answer of its
contract, in every single value, is as good as none: the catalog is away.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import aiohttp
import msgspec

from holdfast.apps.orders.offers.schemas import CatalogAwayError, Offer
from holdfast.core.jwks import bounded_body
from holdfast.core.rpc.channel import SCHEME, CallError, Channel, connected

if TYPE_CHECKING:
    from holdfast.stubs.catalog.v1 import offers_pb2

ANSWERS_WITHIN_S = 1.0
MOST_AT_ONCE = 50
LARGEST_ANSWER = 256 * 1024


class OffersAnswer(msgspec.Struct, frozen=True):
    data: list[Offer]


class Catalog(Protocol):
    async def select_offers(self, ids: Sequence[UUID]) -> dict[UUID, Offer]:
        """Those that there are."""


@asynccontextmanager
async def catalog_at(url: str, http: aiohttp.ClientSession) -> AsyncIterator[Catalog]:
    if not url.startswith(SCHEME):
        yield HttpCatalog(url, http)
        return
    async with connected(url, largest_answer=LARGEST_ANSWER) as channel:
        yield GrpcCatalog(channel)


class HttpCatalog:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def select_offers(self, ids: Sequence[UUID]) -> dict[UUID, Offer]:
        asked = [("id", str(offer_id)) for offer_id in ids]
        try:
            async with self._http.get(
                f"{self._url}/api/v1/offers",
                params=asked,
                timeout=aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S),
                allow_redirects=False,
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise CatalogAwayError
                body = await bounded_body(answer, LARGEST_ANSWER)
                told = msgspec.json.decode(body, type=OffersAnswer).data
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            raise CatalogAwayError from error
        return {offer.id: offer for offer in told}


class GrpcCatalog:
    def __init__(self, channel: Channel) -> None:
        from holdfast.stubs.catalog.v1 import offers_pb2  # noqa: PLC0415 - see `rpc.channel`

        self._wire = offers_pb2
        self._list_offers = channel.method(
            "holdfast.catalog.v1.Offers/ListOffers", offers_pb2.ListOffersResponse
        )

    async def select_offers(self, ids: Sequence[UUID]) -> dict[UUID, Offer]:
        asked = self._wire.ListOffersRequest(ids=map(str, ids))
        try:
            answer = await self._list_offers(asked, within_s=ANSWERS_WITHIN_S)
            told = [self._read(offer) for offer in answer.offers]
        except (CallError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise CatalogAwayError from error
        return {offer.id: offer for offer in told}

    def _read(self, told: "offers_pb2.Offer") -> Offer:
        """What is absent is None, and refused where there must be something."""
        said: dict[str, Any] = dict.fromkeys(Offer.__struct_fields__)
        said |= {field.name: value for field, value in told.ListFields()}
        said["kind"] = self._wire.Kind.Name(told.kind).removeprefix("KIND_").lower()
        for name in ("opens_at", "closes_at"):
            said[name] = said[name] and said[name].ToDatetime(UTC)
        return msgspec.convert(said, Offer)
