"""Orders end: cancelled, expired or refunded. Their units return exactly once, first to who waits.

An order is ended under the locks of its offers and only from the state that leads there, so two who
end it at the same moment end it once. What is paid, and what a late payment means, is not decided
here.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from holdfast.apps.orders.handover.actions import serve_waiting
from holdfast.apps.orders.life import queries
from holdfast.apps.orders.life.schemas import EndedAlreadyError, PaidAlreadyError
from holdfast.apps.orders.placing.queries import lock_offers
from holdfast.apps.orders.records.queries import select_order
from holdfast.apps.orders.records.schemas import OrderOut, order_of
from holdfast.apps.orders.resources import Orders
from holdfast.core.db import Database, Executor
from holdfast.core.errors import NotFoundError

AT_ONCE = 500
Ended = Literal["cancelled", "expired", "refunded"]
WAS = {"cancelled": "reserved", "expired": "reserved", "refunded": "paid"}


async def end_orders(db: Executor, ids: Sequence[UUID], became: Ended, hold_s: float) -> list[UUID]:
    """End those that can still become this, as part of a transaction; answers which they are.

    Whoever is first in line has their units when it commits, to be paid for within `hold_s`.
    """
    offers = await queries.select_offers_of_orders(db, ids)
    await lock_offers(db, offers)
    ended = await queries.update_orders_ended(db, became=became, ids=ids, was=WAS[became])
    if ended:
        await serve_waiting(db, offers, hold_s)
    return ended


async def cancel_order(here: Orders, order_id: UUID, customer_id: UUID) -> OrderOut:
    """End a customer's own order before it is paid; one that was cancelled before stays so."""
    async with here.db.transaction() as db:
        if await select_order(db, order_id=order_id, customer_id=customer_id) is None:
            raise NotFoundError("You have no order with this id.")
        await end_orders(db, [order_id], "cancelled", here.options.hold_s)
        order = order_of(await select_order(db, order_id=order_id, customer_id=customer_id))
    match order.status:
        case "cancelled":
            return order
        case "paid":
            raise PaidAlreadyError
        case _:
            raise EndedAlreadyError


async def expire_orders(db: Database, hold_s: float) -> int:
    """End a batch of orders that were not paid in time; answers how many.

    One process at a time does this: another would only wait for the same offers' locks.
    """
    async with db.transaction() as connection:
        overdue = await queries.lock_overdue(connection, AT_ONCE)
        return len(await end_orders(connection, overdue, "expired", hold_s)) if overdue else 0
