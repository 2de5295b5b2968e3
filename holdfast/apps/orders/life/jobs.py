"""What time ends: orders that nobody paid for, and lines that nobody else looks after."""

import asyncio
import logging

from holdfast.apps.orders.life.actions import AT_ONCE, expire_orders
from holdfast.apps.orders.waiting.actions import tend_lines
from holdfast.core.db import Database
from holdfast.core.errors import BusyError

EVERY_S = 1.0
log = logging.getLogger(__name__)


async def expire_for_ever(db: Database, hold_s: float) -> None:
    """Any number of processes may; an order expires once."""
    while True:
        expired = 0
        try:
            expired = await expire_orders(db, hold_s)
            await tend_lines(db, hold_s)
        except BusyError as error:
            log.warning("Orders expire later, and nobody in line was served: %r", error)
        await asyncio.sleep(0 if expired == AT_ONCE else EVERY_S)
