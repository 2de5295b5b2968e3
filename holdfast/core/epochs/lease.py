"""A worker's lease: beat, read what has changed, and only then decide without asking.

One connection of its own listens for changes and beats, so that a busy pool never lets the lease
run out. Losing it is no harm but for time: decisions wait until the next beat succeeds.
"""

from __future__ import annotations  # asyncpg's classes are generic to the checker only

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from uuid import UUID, uuid4

import asyncpg

from holdfast.core.db import Database
from holdfast.core.epochs import queries
from holdfast.core.epochs.slots import Slots
from holdfast.core.errors import BusyError

BEATS_PER_LEASE = 4
log = logging.getLogger(__name__)


def clock() -> float:
    """Seconds that go on counting while the process, or its machine, is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class EpochsAwayError(BusyError):
    sentence = "It cannot be confirmed at the moment what you may do. Try again shortly."


class WentBackError(Exception):
    """The database knows fewer changes than this worker: it was restored. Restart the worker."""


LOST = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    WentBackError,
)


class Lease:
    """Keeps this worker's slots up to date, and knows until when they may be trusted."""

    def __init__(self, db: Database, lease_s: float) -> None:
        self.db = db
        self.lease_s = lease_s
        self.worker = uuid4()
        self.slots = Slots()
        self.lineage = UUID(int=0)
        self._until = 0.0
        self._wake = asyncio.Event()
        self._beaten = asyncio.Event()
        self._watchers: list[tuple[str, Callable[[], None]]] = []

    @classmethod
    @asynccontextmanager
    async def hold(cls, db: Database, *, lease_s: float) -> AsyncIterator[Self]:
        lease = cls(db, lease_s)
        head = await queries.select_epoch_head(db)
        lease.lineage = head.lineage
        lease.slots.forget(head.number)
        beating = asyncio.create_task(lease._beat_for_ever(), name="epochs")
        try:
            await lease.confirm()
            yield lease
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
            lease._until = 0.0
            with suppress(BusyError):
                await queries.delete_own_epoch_worker(db, lease.worker)

    def watch(self, subject: str, forget: Callable[[], None]) -> None:
        """Call `forget` when the subject changes, before the change is acknowledged."""
        self._watchers.append((subject, forget))

    @property
    def held(self) -> bool:
        return clock() < self._until

    def trusts(self, slots: tuple[int, ...], since: int) -> bool:
        """Whether a decision that rests on these slots may be given again, without asking."""
        return clock() < self._until and self.slots.unchanged(slots, since)

    async def confirm(self) -> None:
        """Return once the lease is held; asks at once if it is not."""
        if self.held:
            return
        self._wake.set()
        try:
            async with asyncio.timeout(2 * self.lease_s):
                while not self.held:
                    await self._beaten.wait()
        except TimeoutError:
            raise EpochsAwayError from None

    def wake(self, *_: Any) -> None:
        self._wake.set()

    async def _beat_for_ever(self) -> None:
        while True:
            try:
                await self._beat_on_one_connection()
            except LOST as error:
                log.warning("The epochs' connection was lost: %r", error)
                await asyncio.sleep(self.lease_s / BEATS_PER_LEASE)

    async def _beat_on_one_connection(self) -> None:
        connection = await self.db.dedicated()
        try:
            await connection.add_listener(f"{self.db.address.schema}_epochs", self.wake)
            while True:
                self._wake.clear()
                async with asyncio.timeout(2 * self.lease_s):
                    await self._beat(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.lease_s / BEATS_PER_LEASE):
                        await self._wake.wait()
        finally:
            connection.terminate()

    async def _beat(self, connection: asyncpg.Connection[Any]) -> None:
        """Acknowledge, then read; again until there was nothing new to acknowledge."""
        acknowledged = -1
        while acknowledged < self.slots.noted:
            acknowledged, sent = self.slots.noted, clock()
            await queries.upsert_epoch_worker(
                connection, worker=self.worker, acknowledged=acknowledged, lease_s=self.lease_s
            )
            self._note(await queries.select_epoch_changes(connection, acknowledged))
            self._until = sent + self.lease_s
            self._beaten.set()
            self._beaten.clear()

    def _note(self, changes: list[queries.EpochChange]) -> None:
        head = changes[-1].head
        if head < self.slots.noted:
            raise WentBackError
        changed: set[str] = set()
        for change in changes:
            if change.number == self.slots.noted + 1:
                self.slots.note(change.number, change.subjects or ())
                changed.update(change.subjects or ())
        missed = self.slots.noted != head
        if missed:
            self.slots.forget(head)
        for subject, forget in self._watchers:
            if missed or subject in changed:
                forget()
