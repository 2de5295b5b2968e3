"""The database's clock, as this worker knows it without asking.

Deals open and close by the database's clock, whatever the clocks of the workers' machines say. A
worker asks it now and then, and counts on by its own counter of seconds, which nobody sets. What
it says is off by half an answer's time at most; what must be exact is decided in SQL.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Self

from holdfast.apps.catalog.lists import queries
from holdfast.core.db import Database
from holdfast.core.epochs.lease import clock
from holdfast.core.errors import BusyError
from holdfast.core.merge import Merge

ASKED_EVERY_S = 10
TIMES = 3  # the quickest answer is the best
log = logging.getLogger(__name__)


class Clock:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._ahead_s = 0.0
        self.ask = Merge(self._tell, name="show_time")

    @classmethod
    @asynccontextmanager
    async def open(cls, db: Database) -> AsyncIterator[Self]:
        opened = cls(db)
        await opened.compare()
        comparing = asyncio.create_task(opened._compare_for_ever(), name="clock")
        try:
            yield opened
        finally:
            comparing.cancel()
            with suppress(asyncio.CancelledError):
                await comparing

    def now(self) -> float:
        """Seconds since 1970."""
        return clock() + self._ahead_s

    async def compare(self) -> None:
        took: dict[float, float] = {}
        for _ in range(TIMES):
            asked = clock()
            told = await queries.select_time(self._db)
            answered = clock()
            took[answered - asked] = told.timestamp() - (asked + answered) / 2
        self._ahead_s = took[min(took)]

    async def _compare_for_ever(self) -> None:
        while True:
            await asyncio.sleep(ASKED_EVERY_S)
            try:
                await self.compare()
            except BusyError as error:
                log.warning("The clock goes on as it was last compared: %r", error)

    async def _tell(self, asked: list[None]) -> list[datetime]:
        return [await queries.select_time(self._db)] * len(asked)
