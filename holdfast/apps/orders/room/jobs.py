"""What happens in waiting rooms although nobody asks: turns are given at the opening, and rooms of
sales that are long over are removed.
"""

import asyncio
import logging

from holdfast.apps.orders.room import queries
from holdfast.apps.orders.room.actions import give_turns, remove_rooms
from holdfast.core.db import Database
from holdfast.core.errors import BusyError

EVERY_S = 1.0
log = logging.getLogger(__name__)


async def tend_rooms_for_ever(db: Database) -> None:
    """Any number of processes may; a turn is given once."""
    while True:
        try:
            for offer_id in await queries.select_rooms_to_open(db):
                await give_turns(db, offer_id)
            await remove_rooms(db)
        except BusyError as error:
            log.warning("Turns are given later, or by who asks for theirs: %r", error)
        await asyncio.sleep(EVERY_S)
