"""The catalog, as orders ask it: what these offers are at this moment."""

from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

import aiohttp
import msgspec

from holdfast.apps.orders.offers.schemas import CatalogAwayError, Offer
from holdfast.core.jwks import bounded_body

ANSWERS_WITHIN = aiohttp.ClientTimeout(total=1)
MOST_AT_ONCE = 50
LARGEST_ANSWER = 256 * 1024


class OffersAnswer(msgspec.Struct, frozen=True):
    data: list[Offer]


class Catalog:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def select_offers(self, ids: Sequence[UUID]) -> dict[UUID, Offer]:
        """Those that there are."""
        asked = [("id", str(offer_id)) for offer_id in ids]
        try:
            async with self._http.get(
                f"{self._url}/api/v1/offers",
                params=asked,
                timeout=ANSWERS_WITHIN,
                allow_redirects=False,
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise CatalogAwayError
                body = await bounded_body(answer, LARGEST_ANSWER)
                told = msgspec.json.decode(body, type=OffersAnswer).data
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            raise CatalogAwayError from error
        return {offer.id: offer for offer in told}
