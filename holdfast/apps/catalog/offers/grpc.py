"""What can be bought at this moment, over gRPC: as `routes`, for services that ask often."""

from typing import Any

from pydantic import ValidationError
from starlette.types import Scope

from holdfast.apps.catalog.offers import queries
from holdfast.apps.catalog.offers.schemas import OffersQuery
from holdfast.apps.catalog.resources import Catalog
from holdfast.core.errors import InvalidError
from holdfast.stubs.catalog.v1.offers_pb2 import (
    KIND_DEAL,
    KIND_PRODUCT,
    ListOffersRequest,
    ListOffersResponse,
    Offer,
)

KINDS = {"deal": KIND_DEAL, "product": KIND_PRODUCT}


async def list_offers(here: Catalog, asked: ListOffersRequest, scope: Scope) -> ListOffersResponse:
    """From the primary, and from no cache: orders sell by what is answered here."""
    rows = await queries.select_offers(here.db, _read(asked).id)
    return ListOffersResponse(offers=[_told(row) for row in rows])


methods = {"holdfast.catalog.v1.Offers/ListOffers": list_offers}


def _read(asked: ListOffersRequest) -> OffersQuery:
    try:
        return OffersQuery.model_validate({"id": list(asked.ids)})
    except ValidationError as error:
        raise InvalidError(("ids", error.errors()[0]["msg"])) from None


def _told(row: queries.Offer) -> Offer:
    said: dict[str, Any] = row._asdict()
    said |= {"id": str(row.id), "product_id": str(row.product_id), "kind": KINDS[row.kind]}
    return Offer(**said)
