"""The consumer: from a stream to its handlers, again and again until it is stopped."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import asyncpg

from holdfast.core.broker import BrokerAwayError, Envelope, Source
from holdfast.core.db import Database, Executor
from holdfast.core.errors import BusyError
from holdfast.core.redis import is_cancelled
from holdfast.core.streams import queries
from holdfast.core.streams.queries import Event
from holdfast.core.telemetry.metrics import PROCESS

BATCH = 500
IDLE_S = 0.25
LONGEST_PAUSE_S = 5.0
TRY_AGAIN = timedelta(minutes=1)
TRIED_AT_ONCE = 100
BEGINNING = ""
log = logging.getLogger(__name__)

consumed_at = PROCESS.gauge(
    "holdfast_stream_consumed_timestamp_seconds",
    "When the consumer last came to the end of the stream, also with nothing to do; Unix time.",
    *("app", "stream"),
)
lag_s = PROCESS.gauge(
    "holdfast_stream_lag_seconds",
    "How old the last event was when it was applied; 0 when none waited.",
    *("app", "stream"),
)
set_aside = PROCESS.gauge(
    "holdfast_stream_events_set_aside",
    "Events that could not be applied, and are tried again every minute.",
    *("app", "stream"),
)

Handler = Callable[[Executor, Sequence[Event]], Awaitable[None]]


class Entry(NamedTuple):
    """A place in the stream; what is there may be nothing to this consumer."""

    position: str
    event: Event | None


@dataclass(frozen=True)
class Consumer:
    """A stream and the handlers of its events, by type; other types are passed over."""

    db: Database
    source: Source
    handlers: Mapping[str, Handler]

    @property
    def stream(self) -> str:
        return self.source.stream

    async def consume(self) -> int:
        """Apply one batch; answers how many entries it had."""
        after = await queries.select_position(self.db, self.stream) or BEGINNING
        entries = await self._read(after)
        if entries and (error := await _failure(self._take(after, entries, self._handle))):
            log.warning("A batch of %s is applied one by one: %r", self.stream, error)
            await self._take_one_by_one(after, entries)
        self._show_lag(entries)
        return len(entries)

    async def try_again(self) -> int:
        """Try those once more that were set aside a while ago; answers how many were tried."""
        due = await queries.select_set_aside(
            self.db, stream=self.stream, rest=TRY_AGAIN, most=TRIED_AT_ONCE
        )
        for event in due:
            if error := await _failure(self._take_back(event)):
                await queries.update_set_aside_tried(self.db, event_id=event.id, error=repr(error))
        count = await queries.select_set_aside_count(self.db, self.stream)
        set_aside.of(self.db.address.schema, self.stream).set(count)
        return len(due)

    async def _read(self, after: str) -> list[Entry]:
        found = await self.source.read(after, BATCH)
        return [Entry(position, self._event(envelope)) for position, envelope in found]

    def _event(self, envelope: Envelope) -> Event | None:
        event_type = envelope.get("type", b"").decode(errors="replace")
        if event_type not in self.handlers:
            return None
        try:
            event_id, at = UUID(envelope["id"].decode()), envelope["at"].decode()
            return Event(event_id, datetime.fromisoformat(at), event_type, envelope["payload"])
        except (KeyError, ValueError):
            log.exception("Somebody wrote to %s what is no event: %r", self.stream, envelope)
            return None

    async def _take(self, after: str, entries: Sequence[Entry], do: Handler) -> None:
        """Go on to the last of these entries and do what is to be done with those events that are
        new, in one transaction. If another consumer was quicker, nothing is done.
        """
        events = {entry.event.id: entry.event for entry in entries if entry.event}
        async with self.db.transaction() as db:
            moved = await queries.upsert_position(
                db, stream=self.stream, after=after, reached=entries[-1].position
            )
            if not moved or not events:
                return
            for event_id in await queries.select_events_seen(db, list(events)):
                del events[event_id]
            if events:
                await queries.insert_events_seen(db, list(events))
                await do(db, list(events.values()))

    async def _take_one_by_one(self, after: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if error := await _failure(self._take(after, [entry], self._handle)):
                await self._take(after, [entry], partial(self._set_aside, error))
            after = entry.position

    async def _take_back(self, event: Event) -> None:
        async with self.db.transaction() as db:
            if await queries.delete_set_aside(db, event.id):
                await self._handle(db, [event])

    async def _handle(self, db: Executor, events: Sequence[Event]) -> None:
        for event_type, alike in groupby(events, key=attrgetter("type")):
            await self.handlers[event_type](db, list(alike))

    async def _set_aside(self, error: Exception, db: Executor, events: Sequence[Event]) -> None:
        for event in events:
            log.error("%s %s of %s is set aside: %r", event.type, event.id, self.stream, error)
            await queries.insert_set_aside(
                db,
                event_id=event.id,
                stream=self.stream,
                at=event.at,
                type=event.type,
                payload=event.payload,
                error=repr(error),
            )

    def _show_lag(self, entries: Sequence[Entry]) -> None:
        labels = (self.db.address.schema, self.stream)
        events = [entry.event for entry in entries if entry.event]
        age_s = time.time() - events[-1].at.timestamp() if events else 0
        lag_s.of(*labels).set(max(0, age_s))  # clocks differ
        if len(entries) < BATCH:
            consumed_at.of(*labels).set(time.time())


async def consume_for_ever(consumer: Consumer) -> None:
    pause = try_again_at = 0.0
    while not is_cancelled():
        try:
            consumed = await consumer.consume()
            pause = 0 if consumed == BATCH else IDLE_S
            if time.monotonic() >= try_again_at:
                tried = await consumer.try_again()
                rest_s = 0 if tried == TRIED_AT_ONCE else TRY_AGAIN.total_seconds()
                try_again_at = time.monotonic() + rest_s
        except (BrokerAwayError, BusyError) as error:
            pause = min(LONGEST_PAUSE_S, max(pause, IDLE_S) * 2)
            log.warning("%s is not consumed, next try in %.1f s: %r", consumer.stream, pause, error)
        await asyncio.sleep(pause)


async def _failure(work: Awaitable[None]) -> Exception | None:
    """What went wrong; unless something is away or busy, for which no event can be blamed."""
    try:
        await work
    except BusyError as error:
        if not isinstance(error.__cause__, asyncpg.QueryCanceledError):
            raise
        return error  # what took too long may take as long the next time
    except Exception as error:  # noqa: BLE001 - handlers may raise anything
        return error
    return None
