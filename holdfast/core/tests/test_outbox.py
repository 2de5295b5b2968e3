"""The outbox: an event reaches the broker at least once, whichever broker it is and whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import msgspec
import pytest

from holdfast.core.broker import BrokerAwayError, Envelope, Sink
from holdfast.core.db import Database, DatabaseAwayError, Executor
from holdfast.core.outbox import emit, queries
from holdfast.core.outbox.gauges import show_events_for_ever
from holdfast.core.outbox.relay import BATCH, LONGEST_PAUSE_S, relay, relay_for_ever
from holdfast.core.telemetry.metrics import Registry
from holdfast.core.tests.conftest import LockWaiters
from holdfast.core.tests.wires import RedisWire, Wire

FIVE_MINUTES_S = 300


async def emit_numbers(db: Executor, *numbers: int) -> None:
    await emit(db, "number.drawn", *({"number": number} for number in numbers))


def numbers_in(events: list[Envelope]) -> list[int]:
    return [msgspec.json.decode(event["payload"])["number"] for event in events]


@pytest.fixture
def sink(wire: Wire) -> Sink:
    return wire.sink()


async def events_waiting(db: Database) -> int:
    return (await queries.select_events_waiting(db)).events


async def drain(db: Database, sink: Sink) -> None:
    """Until nothing waits, whatever has just happened to the broker."""
    while True:
        with suppress(BrokerAwayError):
            relayed = await relay(db, sink)
            if not relayed and not await events_waiting(db):
                return


async def test_an_event_is_as_true_as_its_transaction(db: Database, wire: Wire, sink: Sink) -> None:
    with suppress(ZeroDivisionError):
        async with db.transaction() as connection:
            await emit(connection, "number.drawn", {"number": 1})
            raise ZeroDivisionError
    await emit_numbers(db, 2)
    await drain(db, sink)
    (event,) = await wire.events()
    assert event["type"] == b"number.drawn"
    assert numbers_in([event]) == [2]
    assert event.keys() == {"id", "at", "type", "payload"}


async def test_an_entry_in_redis_has_four_fields_of_text(
    db: Database, redis_wire: RedisWire
) -> None:
    await emit_numbers(db, 1)
    await drain(db, redis_wire.sink())
    entries: Any = await redis_wire.redis.xrange(redis_wire.stream)
    (_, began), (_, fields) = entries
    assert began == {b"type": b"stream.began"}
    assert fields.keys() == {b"id", b"at", b"type", b"payload"}
    assert msgspec.json.decode(fields[b"payload"]) == {"number": 1}


async def test_events_go_once_and_in_order_while_nothing_fails(
    db: Database, wire: Wire, sink: Sink
) -> None:
    several_batches = range(BATCH * 2 + 1)
    for begin in (0, 700):
        await emit_numbers(db, *several_batches[begin : begin + 700])
    await drain(db, sink)
    assert numbers_in(await wire.events()) == list(several_batches)
    assert await relay(db, sink) == 0


async def test_two_relays_at_once_send_everything_and_nothing_twice(
    db: Database, wire: Wire, sink: Sink
) -> None:
    await relay(db, sink)  # begins the stream
    await emit_numbers(db, *range(BATCH * 3))
    await asyncio.gather(drain(db, sink), drain(db, wire.sink()))
    assert sorted(numbers_in(await wire.events())) == list(range(BATCH * 3))


async def test_a_relay_that_dies_after_sending_sends_the_same_ids_again(
    db: Database, wire: Wire, sink: Sink, owner: asyncpg.Connection, lock_waiters: LockWaiters
) -> None:
    await relay(db, sink)
    await emit_numbers(db, 1, 2)
    async with owner.transaction():
        await owner.execute("LOCK TABLE outbox IN SHARE MODE")  # events can be read, not marked
        relaying = asyncio.create_task(relay(db, sink))
        (pid,) = await lock_waiters(1)
        assert numbers_in(await wire.events()) == [1, 2]
        await owner.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(DatabaseAwayError):
            await relaying
    await drain(db, sink)
    events = await wire.events()
    assert numbers_in(events) == [1, 2, 1, 2]
    assert len({event["id"] for event in events}) == 2


async def test_a_broker_that_comes_back_empty_is_told_everything_once_more(
    db: Database, wire: Wire, sink: Sink
) -> None:
    await emit_numbers(db, 1, 2)
    await drain(db, sink)
    before = await wire.events()
    await wire.lose()
    await emit_numbers(db, 3)
    await drain(db, sink)
    events = await wire.events()
    assert numbers_in(events) == [1, 2, 3]
    assert events[:2] == before


async def test_a_broker_that_is_emptied_in_the_middle_of_a_relay_is_told_everything_too(
    db: Database, wire: Wire, sink: Sink, owner: asyncpg.Connection, lock_waiters: LockWaiters
) -> None:
    await emit_numbers(db, 1, 2)
    await drain(db, sink)
    more_than_it_had = range(3, 9)
    await emit_numbers(db, *more_than_it_had)
    async with owner.transaction():
        await owner.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        relaying = asyncio.create_task(relay(db, sink))
        await lock_waiters(1)  # it has seen that the stream is there
        await wire.lose()
    with suppress(BrokerAwayError):
        await relaying
    await drain(db, sink)
    assert sorted(set(numbers_in(await wire.events()))) == [1, 2, *more_than_it_had]


async def test_what_a_dying_relay_left_in_a_new_log_does_not_pass_for_the_old_one(
    db: Database, wire: Wire, sink: Sink
) -> None:
    """It has sent more than the old log had, and could not mark it any more."""
    await emit_numbers(db, 1, 2)
    await drain(db, sink)
    await wire.lose()
    left = [{"id": b"%d" % number, "type": b"number.drawn"} for number in range(9)]
    with suppress(BrokerAwayError):
        await wire.sink().append([{**one, "payload": b'{"number": 0}'} for one in left])
    await emit_numbers(db, 3)
    await drain(db, sink)
    assert {1, 2, 3} <= set(numbers_in(await wire.events()))


async def test_a_log_that_lost_only_its_last_entry_is_told_everything_once_more(
    db: Database, redis_wire: RedisWire
) -> None:
    """As Redis may when it is killed: it writes to its disk once a second."""
    sink = redis_wire.sink()
    await emit_numbers(db, 1, 2)
    await drain(db, sink)
    entries: Any = await redis_wire.redis.xrevrange(redis_wire.stream, count=1)
    ((last, _),) = entries
    await redis_wire.redis.xdel(redis_wire.stream, last)
    await drain(db, sink)
    assert numbers_in(await redis_wire.events()) == [1, 1, 2]


async def test_a_relay_that_was_overtaken_by_a_new_beginning_marks_nothing(
    db: Database, wire: Wire, sink: Sink, owner: asyncpg.Connection, lock_waiters: LockWaiters
) -> None:
    """It has looked at the old log; another relay has found that one lost, and begins the next."""
    await drain(db, sink)
    await emit_numbers(db, 1)
    async with owner.transaction():
        await owner.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        relaying = asyncio.create_task(relay(db, sink))
        await lock_waiters(1)
        await queries.update_log_begun(owner, "elsewhere")
    assert await relaying == 0
    assert await events_waiting(db) == 1


async def test_a_log_at_another_place_is_told_everything_too(
    db: Database, wire: Wire, sink: Sink, owner: asyncpg.Connection
) -> None:
    """Events went elsewhere meanwhile, and nobody can say which of them were read there."""
    await emit_numbers(db, 1, 2)
    await drain(db, sink)
    await owner.execute("UPDATE outbox_log SET place = 'elsewhere'")
    await emit_numbers(db, 3)
    await drain(db, sink)
    assert numbers_in(await wire.events()) == [1, 2, 1, 2, 3]
    await drain(db, sink)
    assert numbers_in(await wire.events()) == [1, 2, 1, 2, 3]


@asynccontextmanager
async def relaying(db: Database, sink: Sink) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(relay_for_ever(db, sink))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def arrived(wire: Wire, *numbers: int) -> None:
    """Returns when the stream has these numbers at least; they are marked a little later."""
    while True:
        with suppress(BrokerAwayError):
            if set(numbers) <= set(numbers_in(await wire.events())):
                return
        await asyncio.sleep(0.01)


async def marked(db: Database) -> None:
    """Returns when nothing waits any more."""
    while await events_waiting(db):
        await asyncio.sleep(0.01)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the relay has rested, by its own clock, which is hurried here."""
    rested: list[float] = []

    async def rest(pause_s: float) -> None:
        rested.append(pause_s)
        await asyncio.sleep(pause_s / 1000)

    monkeypatch.setattr("holdfast.core.outbox.relay.sleep", rest)
    return rested


async def test_five_minutes_without_the_broker_lose_nothing(
    db: Database, mortal: Wire, pauses: list[float]
) -> None:
    """It may take longer, too: the outbox keeps events for a week, and between two tries it rests
    for five seconds at most, however many have failed.
    """
    await emit_numbers(db, 1)
    async with relaying(db, mortal.sink()) as task:
        await marked(db)
        mortal.server.kill()
        await emit_numbers(db, 2)
        pauses.clear()
        while sum(pauses) < FIVE_MINUTES_S:
            assert not task.done()
            await asyncio.sleep(0.01)
        assert max(pauses) == LONGEST_PAUSE_S
        assert await events_waiting(db) == 1
        mortal.server.restart()
        await arrived(mortal, 1, 2)
        await marked(db)


async def test_a_relay_survives_the_loss_of_its_database_connections(
    db: Database, wire: Wire, sink: Sink, owner: asyncpg.Connection
) -> None:
    async with relaying(db, sink):
        await emit_numbers(db, 1)
        await arrived(wire, 1)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await emit_numbers(owner, 2)
        await arrived(wire, 1, 2)


async def test_what_waits_is_shown_with_its_age(db: Database, owner: asyncpg.Connection) -> None:
    async def shown() -> tuple[float, float]:
        registry = Registry()
        showing = asyncio.create_task(show_events_for_ever(db, registry))
        while (
            "holdfast_outbox_oldest_waiting_seconds{" not in registry.render()
        ):  # the last one set
            await asyncio.sleep(0.01)
        showing.cancel()
        names = ("holdfast_outbox_events_waiting", "holdfast_outbox_oldest_waiting_seconds")
        waiting, oldest_s = (registry.gauge(name, "", "app").of("identity") for name in names)
        return waiting.value, oldest_s.value

    assert await shown() == (0, 0)
    await emit_numbers(db, 1, 2, 3)
    await owner.execute("UPDATE outbox SET relayed_at = now() WHERE payload->>'number' = '1'")
    await owner.execute(
        "UPDATE outbox SET created_at = now() - interval '9 s' WHERE payload->>'number' = '2'"
    )
    waiting, oldest_s = await shown()
    assert waiting == 2
    assert 9 <= oldest_s < 9 + 60
