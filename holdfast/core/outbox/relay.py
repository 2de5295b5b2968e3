"""The relay: from the outbox to a Redis Stream, again and again until it is stopped."""

import asyncio
import logging
import time
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from holdfast.core.db import AWAY, Database, DatabaseAwayError
from holdfast.core.errors import BusyError
from holdfast.core.outbox import queries
from holdfast.core.redis import is_cancelled
from holdfast.core.telemetry.metrics import PROCESS

BATCH = 500
STREAM_LENGTH = 1_000_000
IDLE_S = 0.25
LONGEST_PAUSE_S = 5.0
log = logging.getLogger(__name__)
relayed_at = PROCESS.gauge(
    "holdfast_outbox_relayed_timestamp_seconds",
    "When the relay last came to its end, also with nothing to send; Unix time.",
    "app",
)


def stream_name(db: Database) -> str:
    return f"events:{db.address.schema}"


async def relay_for_ever(db: Database, redis: Redis) -> None:
    pause = IDLE_S
    while not is_cancelled():
        try:
            relayed = await relay(db, redis)
            relayed_at.of(db.address.schema).set(time.time())
            pause = 0 if relayed == BATCH else IDLE_S
        except (RedisError, OSError, BusyError) as error:
            pause = min(LONGEST_PAUSE_S, max(pause, IDLE_S) * 2)
            log.warning("Events wait in the outbox, next try in %.1f s: %r", pause, error)
        await asyncio.sleep(pause)


async def relay(db: Database, redis: Redis) -> int:
    """Send one batch; an event is marked only after Redis has it, so it may be sent twice."""
    stream = stream_name(db)
    if not await redis.exists(stream):
        await _begin_stream(db, redis, stream)
    async with db.transaction() as connection:
        events = await queries.lock_waiting_events(connection, BATCH)
        if not events:
            return 0
        pipeline = redis.pipeline(transaction=False)
        for event in events:
            fields: dict[Any, Any] = {
                "id": str(event.id),
                "at": event.created_at.isoformat(),
                "type": event.type,
                "payload": event.payload,
            }
            _ = pipeline.xadd(
                stream, fields, maxlen=STREAM_LENGTH, approximate=True, nomkstream=True
            )
        if None in await pipeline.execute():
            return 0  # Redis has just lost the stream: nothing here may be marked
        await queries.update_events_relayed(
            connection,
            ids=[event.id for event in events],
            oldest=min(event.created_at for event in events),
        )
    return len(events)


async def _begin_stream(db: Database, redis: Redis, stream: str) -> None:
    """The stream is new, or Redis has lost it: all that is kept goes (once more) its way."""
    again = await _wait_again(db)
    await redis.xadd(stream, {"type": "stream.began"})
    if again:
        log.warning("Redis had lost %s: %d events are sent again", stream, again)


async def _wait_again(db: Database) -> int:
    """A week may be millions of events: on a connection that takes as long as it takes."""
    try:
        connection = await db.dedicated()
        try:
            await connection.execute("SET statement_timeout = 0")
            return await queries.update_events_waiting_again(connection)
        finally:
            await connection.close()
    except AWAY as error:
        raise DatabaseAwayError from error
