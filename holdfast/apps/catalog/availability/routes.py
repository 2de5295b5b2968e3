"""How many there still are, for whoever looks at an offer."""

from uuid import UUID

from fastapi import APIRouter

from holdfast.apps.catalog.availability import queries
from holdfast.apps.catalog.availability.schemas import StockOut
from holdfast.apps.catalog.resources import Here
from holdfast.core.errors import NotFoundError
from holdfast.core.wire import Data

router = APIRouter(prefix="/api/v1")


@router.get("/offers/{offer_id:uuid}/stock")
async def show_stock(here: Here, offer_id: UUID) -> Data[StockOut]:
    stock = await queries.select_stock(here.db, offer_id)
    if stock is None:
        raise NotFoundError("There is no deal and no product with this id.")
    return Data(data=StockOut(**stock._asdict()))
