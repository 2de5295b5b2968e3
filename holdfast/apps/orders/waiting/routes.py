"""The line for what is sold out: joined, looked at, left."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Response

from holdfast.apps.orders.guard import Customer
from holdfast.apps.orders.offers.actions import require_offers
from holdfast.apps.orders.resources import Here
from holdfast.apps.orders.waiting import actions
from holdfast.apps.orders.waiting.schemas import NotWaitingError, PlaceOut, Wish
from holdfast.apps.orders.wire import answer

router = APIRouter(prefix="/api/v1/offers/{offer_id}/waiting")


@router.post("", status_code=HTTPStatus.CREATED)
async def join_waiting(here: Here, offer_id: UUID, customer_id: Customer) -> Response:
    await require_offers(here, [offer_id])
    place = await here.merged(actions.join_waiting)(Wish(offer_id, customer_id))
    if not isinstance(place, PlaceOut):
        raise place
    return answer(place, HTTPStatus.CREATED)


@router.get("")
async def show_waiting(here: Here, offer_id: UUID, customer_id: Customer) -> Response:
    place = await here.merged(actions.show_places)(Wish(offer_id, customer_id))
    if place is None:
        raise NotWaitingError
    return answer(place)


@router.delete("", status_code=HTTPStatus.NO_CONTENT)
async def leave_waiting(here: Here, offer_id: UUID, customer_id: Customer) -> Response:
    await actions.leave_waiting(here, Wish(offer_id, customer_id))
    return Response(status_code=HTTPStatus.NO_CONTENT)
