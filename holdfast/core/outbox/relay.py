"""The relay: from the outbox to a broker's log, again and again until it is stopped.

Beside the outbox is written which log has its events, and the last entry that was acknowledged. A
log elsewhere, or without that entry, is another one: after a loss, a restore, a new cluster or a
change of the setting. Then everything that the outbox still keeps goes its way once more.
"""

import logging
import time
from asyncio import sleep

from holdfast.core.broker import BrokerAwayError, Envelope, Log, Sink
from holdfast.core.db import AWAY, BUSY, Database, DatabaseAwayError, DatabaseBusyError
from holdfast.core.errors import BusyError
from holdfast.core.outbox import queries
from holdfast.core.redis import is_cancelled
from holdfast.core.telemetry.metrics import PROCESS

BATCH = 500
IDLE_S = 0.25
LONGEST_PAUSE_S = 5.0
log = logging.getLogger(__name__)
relayed_at = PROCESS.gauge(
    "holdfast_outbox_relayed_timestamp_seconds",
    "When the relay last came to its end, also with nothing to send; Unix time.",
    "app",
)


async def relay_for_ever(db: Database, sink: Sink) -> None:
    pause = IDLE_S
    while not is_cancelled():
        try:
            relayed = await relay(db, sink)
            relayed_at.of(db.address.schema).set(time.time())
            pause = 0 if relayed == BATCH else IDLE_S
        except (BrokerAwayError, BusyError) as error:
            pause = min(LONGEST_PAUSE_S, max(pause, IDLE_S) * 2)
            log.warning("Events wait in the outbox, next try in %.1f s: %r", pause, error)
        await sleep(pause)


async def relay(db: Database, sink: Sink) -> int:
    """Send one batch; an event is marked only after the broker has it, so it may be sent twice."""
    known = await _known(db, sink)
    async with db.transaction() as connection:
        events = await queries.lock_waiting_events(connection, BATCH)
        if not events:
            return 0
        reached = await sink.append([_envelope(event) for event in events])
        if not _is_known(await sink.look(known.position), known):
            return 0  # it was lost meanwhile, so these are in another one, and the others are not
        if not await queries.update_log_reached(connection, position=reached, id=known.id):
            return 0  # another relay has just begun another one, and these belong there too
        await queries.update_events_relayed(
            connection,
            ids=[event.id for event in events],
            oldest=min(event.created_at for event in events),
        )
    return len(events)


def _envelope(event: queries.Event) -> Envelope:
    return {
        "id": str(event.id).encode(),
        "at": event.created_at.isoformat().encode(),
        "type": event.type.encode(),
        "payload": event.payload.encode(),
    }


async def _known(db: Database, sink: Sink) -> queries.Log:
    """The log that has what was acknowledged. If it is new or has lost that, it begins here, and all
    that is kept goes (once more) its way. That is noted first, so that nobody can die in between.
    """
    known = await queries.select_log(db)
    there = await sink.look(known.position)
    if _is_known(there, known):
        return known
    again = await _wait_again(db, there.place)
    if again:
        log.warning("%s begins at %s: %d events are sent again", sink.stream, there.place, again)
    begun = await queries.select_log(db)
    position = await sink.begin()
    await queries.update_log_reached(db, position=position, id=begun.id)
    return begun._replace(position=position)


def _is_known(there: Log, known: queries.Log) -> bool:
    return there.whole and there.place == known.place


async def _wait_again(db: Database, place: str) -> int:
    """A week may be millions of events: on a connection that takes as long as it takes."""
    try:
        connection = await db.dedicated()
        try:
            await connection.execute("SET statement_timeout = 0")
            async with connection.transaction():
                await queries.update_log_begun(connection, place)
                return await queries.update_events_waiting_again(connection)
        finally:
            await connection.close()
    except AWAY as error:
        raise DatabaseAwayError from error
    except BUSY as error:
        raise DatabaseBusyError from error
