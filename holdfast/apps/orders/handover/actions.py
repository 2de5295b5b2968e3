"""Stock that returns, or grows, goes to those who wait for it, before anybody else can see it.

It is handed over in the transaction that puts it back, so that no newcomer overtakes the line and
placing an order need not know that there is one. Joining the line is not done here.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from holdfast.apps.orders.handover import queries
from holdfast.core.db import Executor


async def serve_waiting(db: Executor, offer_ids: Sequence[UUID], hold_s: float) -> None:
    """Give what is left of these offers, which are locked, to those who are first in line."""
    hold = timedelta(seconds=hold_s)
    while await queries.insert_orders_of_waiting(db, offer_ids=offer_ids, hold=hold):
        pass  # somebody left the line with nothing: what was theirs is for those behind them
