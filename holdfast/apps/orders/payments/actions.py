"""Orders are paid, and paid back: what is wanted is written down, the provider asked, and its word kept.

No transaction is open while the provider is asked. Whatever is cut off in between is found by what was
written down first, and `jobs` asks the provider what became of it. Its word is kept once, under the
locks of the order's offers and the order, whoever brings it: so an order is paid or its money goes
back, never both. The stock of an order that is paid back returns when its money has.

The order may have ended while its payment was on the way. One that expired is its customer's after
all, at its old places in the sale, if enough is left; one that the customer cancelled stays so.
"""

import logging
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.orders.life.actions import end_orders
from holdfast.apps.orders.life.queries import select_offers_of_orders
from holdfast.apps.orders.payments import queries
from holdfast.apps.orders.payments.client import ANSWERS_WITHIN_S
from holdfast.apps.orders.payments.schemas import (
    DeclinedError,
    NoAnswerError,
    NotPaidError,
    OrderEndedError,
    PaidTooLateError,
    PaymentUndoneError,
    ProviderAwayError,
    Told,
    UnknownOrderError,
)
from holdfast.apps.orders.placing.queries import lock_offers
from holdfast.apps.orders.records.queries import select_orders
from holdfast.apps.orders.records.schemas import OrderOut, order_of
from holdfast.apps.orders.resources import Orders
from holdfast.core.db import Database, Executor

PATIENCE = timedelta(seconds=2 * ANSWERS_WITHIN_S)  # then whoever asked has gone
log = logging.getLogger(__name__)


class Attempt(NamedTuple):
    id: UUID
    amount_krw: int


async def pay_order(here: Orders, customer_id: UUID, order_id: UUID, method: str) -> OrderOut:
    """The order as it is then: paid, or still reserved because the provider's answer was lost."""
    attempt = await _attempt(here.db, customer_id, order_id)
    if attempt is None:
        return await _read(here.db, order_id)
    try:
        told = await here.payments.charge(attempt.id, attempt.amount_krw, method)
    except NoAnswerError as error:
        log.warning("Payment %s is left to the jobs: %r", attempt.id, error)
        return await _read(here.db, order_id)
    await settle(here.db, attempt.id, order_id, told, here.options.hold_s)
    if told != "approved":
        raise DeclinedError
    order = await _read(here.db, order_id)
    if order.status != "paid":
        raise PaidTooLateError
    return order


async def refund_order(here: Orders, customer_id: UUID, order_id: UUID) -> OrderOut:
    """The order as it is then: refunded, or still paid while the provider is asked again."""
    payment_id = await _give_back(here.db, customer_id, order_id)
    if payment_id is not None:
        try:
            told = await here.payments.refund(payment_id)
            await settle(here.db, payment_id, order_id, told, here.options.hold_s)
        except (NoAnswerError, ProviderAwayError) as error:
            log.warning("The refund of %s is left to the jobs: %r", payment_id, error)
    return await _read(here.db, order_id)


async def settle(
    db: Database, payment_id: UUID, order_id: UUID, told: Told | None, hold_s: float
) -> None:
    """Keep the provider's word; None says that it has never heard of the payment.

    Then it must not hear of it later either: a charge may still be on its way there.
    """
    async with db.transaction() as tx:
        await lock_offers(tx, await select_offers_of_orders(tx, [order_id]))
        status = await queries.lock_order(tx, order_id)
        match await queries.select_state(tx, payment_id), told:
            case "asked", "approved" if await _may_be_paid(tx, order_id, status):
                await queries.update_order_paid(tx, order_id)
                await queries.update_payment_settled(tx, state="approved", payment_id=payment_id)
            case "asked", "approved" | None:
                await queries.update_payment_undone(tx, payment_id)
            case "asked", ("declined" | "refunded") as state:
                await queries.update_payment_settled(tx, state=state, payment_id=payment_id)
            case "refunding", ("declined" | "refunded") as state:
                await queries.update_payment_settled(tx, state=state, payment_id=payment_id)
                await end_orders(tx, [order_id], "refunded", hold_s)


async def _may_be_paid(db: Executor, order_id: UUID, status: str) -> bool:
    return status == "reserved" or (
        status == "expired" and await queries.select_order_fits(db, order_id)
    )


async def _attempt(db: Database, customer_id: UUID, order_id: UUID) -> Attempt | None:
    """None if it is paid. Who asks twice at the same moment makes one attempt."""
    async with db.transaction() as tx:
        own = await _lock_own(tx, customer_id, order_id)
        if own.status == "paid":
            return None
        if own.status != "reserved" or not own.in_time:
            raise OrderEndedError
        payment_id = await queries.upsert_payment(
            tx, order_id=order_id, amount_krw=own.total_krw, patience=PATIENCE
        )
        if payment_id is None:
            raise PaymentUndoneError
        return Attempt(payment_id, own.total_krw)


async def _give_back(db: Database, customer_id: UUID, order_id: UUID) -> UUID | None:
    """None if it is refunded."""
    async with db.transaction() as tx:
        own = await _lock_own(tx, customer_id, order_id)
        if own.status == "refunded":
            return None
        if own.status != "paid":
            raise NotPaidError
        return await queries.update_payment_given_back(tx, patience=PATIENCE, order_id=order_id)


async def _lock_own(db: Executor, customer_id: UUID, order_id: UUID) -> queries.Own:
    own = await queries.lock_order_of_customer(db, order_id=order_id, customer_id=customer_id)
    if own is None:
        raise UnknownOrderError
    return own


async def _read(db: Executor, order_id: UUID) -> OrderOut:
    [row] = await select_orders(db, [order_id])
    return order_of(row)
