import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from holdfast.cli.servers import free_port, running, valkey
from holdfast.core.db import Database, DatabaseAwayError, Executor
from holdfast.core.outbox import emit, queries
from holdfast.core.outbox.relay import BATCH, relay, relay_for_ever, stream_name
from holdfast.core.redis import connect
from holdfast.core.settings import Settings
from holdfast.core.tests.conftest import LockWaiters


async def emit_numbers(db: Executor, *numbers: int) -> None:
    await emit(db, "number.drawn", *({"number": number} for number in numbers))


async def stream(db: Database, redis: Redis) -> list[dict[str, str]]:
    """All events of the stream, in its order."""
    entries: Any = await redis.xrange(stream_name(db))
    told = [{key.decode(): text.decode() for key, text in event.items()} for _, event in entries]
    return [event for event in told if event["type"] != "stream.began"]


def numbers_in(events: list[dict[str, str]]) -> list[int]:
    return [msgspec.json.decode(event["payload"])["number"] for event in events]


async def drain(db: Database, redis: Redis) -> None:
    while await relay(db, redis):
        pass


async def test_an_event_is_as_true_as_its_transaction(db: Database, redis: Redis) -> None:
    with suppress(ZeroDivisionError):
        async with db.transaction() as connection:
            await emit(connection, "number.drawn", {"number": 1})
            raise ZeroDivisionError
    await emit_numbers(db, 2)
    await drain(db, redis)
    (event,) = await stream(db, redis)
    assert event["type"] == "number.drawn"
    assert numbers_in([event]) == [2]
    assert event.keys() == {"id", "at", "type", "payload"}


async def test_events_go_once_and_in_order_while_nothing_fails(db: Database, redis: Redis) -> None:
    several_batches = range(BATCH * 2 + 1)
    for begin in (0, 700):
        await emit_numbers(db, *several_batches[begin : begin + 700])
    await drain(db, redis)
    assert numbers_in(await stream(db, redis)) == list(several_batches)
    assert (await queries.select_events_waiting(db)).events == 0
    assert await relay(db, redis) == 0


async def test_two_relays_at_once_send_everything_and_nothing_twice(
    db: Database, redis: Redis
) -> None:
    await relay(db, redis)  # begins the stream
    await emit_numbers(db, *range(BATCH * 3))
    await asyncio.gather(*(drain(db, redis) for _ in range(2)))
    assert sorted(numbers_in(await stream(db, redis))) == list(range(BATCH * 3))


async def test_a_relay_that_dies_after_sending_sends_the_same_ids_again(
    db: Database, redis: Redis, owner: asyncpg.Connection, lock_waiters: LockWaiters
) -> None:
    await relay(db, redis)
    await emit_numbers(db, 1, 2)
    async with owner.transaction():
        await owner.execute("LOCK TABLE outbox IN SHARE MODE")  # events can be read, not marked
        relaying = asyncio.create_task(relay(db, redis))
        (pid,) = await lock_waiters(1)
        assert numbers_in(await stream(db, redis)) == [1, 2]
        await owner.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DatabaseAwayError):
            await relaying
    await drain(db, redis)
    events = await stream(db, redis)
    assert numbers_in(events) == [1, 2, 1, 2]
    assert len({event["id"] for event in events}) == 2


async def test_redis_that_comes_back_empty_is_told_everything_once_more(
    db: Database, redis: Redis
) -> None:
    await emit_numbers(db, 1, 2)
    await drain(db, redis)
    before = await stream(db, redis)
    await redis.flushall()
    await emit_numbers(db, 3)
    await drain(db, redis)
    events = await stream(db, redis)
    assert numbers_in(events) == [1, 2, 3]
    assert events[:2] == before


async def test_redis_that_is_emptied_in_the_middle_of_a_relay_is_told_everything_too(
    db: Database, redis: Redis, owner: asyncpg.Connection, lock_waiters: LockWaiters
) -> None:
    await emit_numbers(db, 1, 2)
    await drain(db, redis)
    await emit_numbers(db, 3)
    async with owner.transaction():
        await owner.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        relaying = asyncio.create_task(relay(db, redis))
        await lock_waiters(1)  # it has seen that the stream is there
        await redis.flushall()
    await relaying
    await drain(db, redis)
    assert sorted(set(numbers_in(await stream(db, redis)))) == [1, 2, 3]


@asynccontextmanager
async def relaying(db: Database, redis: Redis) -> AsyncIterator[None]:
    task = asyncio.create_task(relay_for_ever(db, redis))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def arrived(db: Database, redis: Redis, *numbers: int) -> None:
    """Returns when the stream has these numbers at least."""
    while True:
        with suppress(RedisError):
            if set(numbers) <= set(numbers_in(await stream(db, redis))):
                return
        await asyncio.sleep(0.01)


async def test_events_wait_while_redis_is_away_and_go_when_it_is_back(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    with running(valkey(tmp_path, free_port())) as server:
        own = settings.model_copy(update={"redis_url": server.server.url})
        async with connect(own) as redis:
            await emit_numbers(db, 1)
            async with relaying(db, redis):
                await arrived(db, redis, 1)
                server.kill()
                await emit_numbers(db, 2)
                with pytest.raises(RedisError):
                    await relay(db, redis)
                assert (await queries.select_events_waiting(db)).events == 1
                server.restart()
                await arrived(db, redis, 1, 2)
                while (await queries.select_events_waiting(db)).events:
                    await asyncio.sleep(0.01)


async def test_a_relay_survives_the_loss_of_its_database_connections(
    db: Database, redis: Redis, owner: asyncpg.Connection
) -> None:
    async with relaying(db, redis):
        await emit_numbers(db, 1)
        await arrived(db, redis, 1)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await emit_numbers(owner, 2)
        await arrived(db, redis, 1, 2)
