"""What was asked of the provider and never answered: asked about again, until it is settled.

So a worker may die at any moment between asking and noting the answer. Each payment is asked about
less and less often, up to every few minutes, for as long as it takes.
"""

import asyncio
import logging

from holdfast.apps.orders.payments import queries
from holdfast.apps.orders.payments.actions import settle
from holdfast.apps.orders.payments.client import PaymentProvider
from holdfast.apps.orders.payments.schemas import NoAnswerError
from holdfast.core.db import Database
from holdfast.core.errors import BusyError

AT_ONCE = 10
IDLE_S = 0.5
log = logging.getLogger(__name__)


async def settle_for_ever(db: Database, provider: PaymentProvider, hold_s: float) -> None:
    while True:
        try:
            taken = await settle_due(db, provider, hold_s)
        except BusyError as error:
            taken = 0
            log.warning("Payments wait: %r", error)
        await asyncio.sleep(0 if taken == AT_ONCE else IDLE_S)


async def settle_due(db: Database, provider: PaymentProvider, hold_s: float) -> int:
    """Take the next step of all that are due, up to some at once; answers how many were."""
    due = await queries.update_payments_taken(db, AT_ONCE)
    await asyncio.gather(*(_settle(db, provider, payment, hold_s) for payment in due))
    return len(due)


async def _settle(
    db: Database, provider: PaymentProvider, payment: queries.Open, hold_s: float
) -> None:
    try:
        told = await provider.look_up(payment.id)
        if payment.state == "refunding" and told in {None, "approved"}:
            told = await provider.refund(payment.id)
        await settle(db, payment.id, payment.order_id, told, hold_s)
    except (BusyError, NoAnswerError) as error:
        log.warning("Payment %s is asked about again later: %r", payment.id, error)
    except Exception:  # one payment that cannot be settled holds up no other
        log.exception("Payment %s cannot be settled", payment.id)
