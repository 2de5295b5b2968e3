"""Deals by HTTP: what editors do to them, and one of them for everybody."""

from uuid import UUID

from fastapi import APIRouter, Response

from holdfast.apps.catalog.deals import actions, queries
from holdfast.apps.catalog.deals.queries import Deal
from holdfast.apps.catalog.deals.schemas import DealChangeIn, DealIn, DealOut
from holdfast.apps.catalog.guard import Editor
from holdfast.apps.catalog.resources import Here
from holdfast.core.errors import NotFoundError
from holdfast.core.wire import Data

router = APIRouter(prefix="/api/v1/products/deals")
ONE = "/{deal_id:uuid}"


@router.post("", status_code=201)
async def create_deal(here: Here, wanted: DealIn, editor: Editor) -> Data[DealOut]:
    return _shown(await actions.create_deal(here, wanted))


@router.get(ONE)
async def show_deal(here: Here, deal_id: UUID) -> Data[DealOut]:
    deal = await queries.select_deal(here.db, deal_id)
    if deal is None:
        raise NotFoundError("There is no deal with this id.")
    return _shown(deal)


@router.patch(ONE)
async def change_deal(
    here: Here, deal_id: UUID, wanted: DealChangeIn, editor: Editor
) -> Data[DealOut]:
    return _shown(await actions.change_deal(here, deal_id, wanted))


@router.delete(ONE, status_code=204)
async def withdraw_deal(here: Here, deal_id: UUID, editor: Editor) -> Response:
    await actions.withdraw_deal(here, deal_id)
    return Response(status_code=204)


def _shown(deal: Deal) -> Data[DealOut]:
    return Data(data=DealOut(**deal._asdict()))
