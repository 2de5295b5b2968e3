"""An order is cancelled by whoever placed it."""

from uuid import UUID

from fastapi import APIRouter, Response

from holdfast.apps.orders.guard import Customer
from holdfast.apps.orders.life import actions
from holdfast.apps.orders.resources import Here
from holdfast.apps.orders.wire import answer

router = APIRouter(prefix="/api/v1/orders")


@router.post("/{order_id}/cancel")
async def cancel_order(here: Here, order_id: UUID, customer_id: Customer) -> Response:
    return answer(await actions.cancel_order(here, order_id, customer_id))
