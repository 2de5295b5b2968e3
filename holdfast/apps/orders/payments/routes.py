"""Paying an order, and having the money back."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Response

from holdfast.apps.orders.guard import Customer
from holdfast.apps.orders.payments import actions, queries
from holdfast.apps.orders.payments.schemas import NotPaidYetError, PayIn
from holdfast.apps.orders.resources import Here
from holdfast.apps.orders.wire import answer

router = APIRouter(prefix="/api/v1/orders/{order_id}")


@router.post("/pay")
async def pay_order(here: Here, customer: Customer, order_id: UUID, wanted: PayIn) -> Response:
    order = await actions.pay_order(here, customer, order_id, wanted.method)
    return answer(order, HTTPStatus.OK if order.status == "paid" else HTTPStatus.ACCEPTED)


@router.post("/refund")
async def refund_order(here: Here, customer: Customer, order_id: UUID) -> Response:
    order = await actions.refund_order(here, customer, order_id)
    return answer(order, HTTPStatus.OK if order.status == "refunded" else HTTPStatus.ACCEPTED)


@router.get("/payment")
async def show_payment(here: Here, customer: Customer, order_id: UUID) -> Response:
    payment = await queries.select_payment(here.db, order_id=order_id, customer_id=customer)
    if payment is None:
        raise NotPaidYetError
    return answer(payment._asdict())
