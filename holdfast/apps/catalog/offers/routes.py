"""What can be bought at this moment, for other services: asked in the middle of their sales."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from holdfast.apps.catalog.offers import queries
from holdfast.apps.catalog.offers.schemas import OffersQuery
from holdfast.apps.catalog.resources import Here

router = APIRouter(prefix="/api/v1")


@router.get("/offers")
async def list_offers(here: Here, asked: Annotated[OffersQuery, Query()]) -> Response:
    """From the primary, and from no cache: orders sell by what is answered here."""
    rows = await queries.select_offers(here.db, asked.id)
    body = msgspec.json.encode({"data": [row._asdict() for row in rows]})
    return Response(body, media_type="application/json")
