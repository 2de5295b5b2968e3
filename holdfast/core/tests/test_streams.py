"""Streams: whatever happens in between, each event is applied once in the consumer's own database,
whichever broker it is.

One app's schema has the outbox, another's the inbox, as between two services.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from holdfast.cli.servers import Running
from holdfast.core.broker import BrokerAwayError, Envelope, Sink
from holdfast.core.db import (
    Address,
    Database,
    DatabaseAwayError,
    DatabaseBusyError,
    Executor,
)
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate
from holdfast.core.outbox import emit
from holdfast.core.outbox import queries as outbox
from holdfast.core.outbox.relay import relay, relay_for_ever
from holdfast.core.streams import Consumer, Event, consume_for_ever, queries
from holdfast.core.streams.consumer import BATCH, lag_s, set_aside
from holdfast.core.tests.wires import KafkaWire, RedisWire, Wire

CONSUMING = find("catalog")
TABLE = f"""
CREATE TABLE numbers (position integer GENERATED ALWAYS AS IDENTITY, number integer NOT NULL,
  CONSTRAINT small CHECK (number < 1000000));
GRANT ALL ON numbers TO {CONSUMING.role}"""
POISON = 1_000_000
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


async def note_numbers(db: Executor, events: Sequence[Event]) -> None:
    """A handler that would show it if an event were applied twice."""
    numbers = [msgspec.json.decode(event.payload)["number"] for event in events]
    await db.execute("INSERT INTO numbers (number) SELECT unnest($1::integer[])", numbers)


@asynccontextmanager
async def consuming_database(url: str) -> AsyncIterator[Database]:
    owner = await asyncpg.connect(url, server_settings={"search_path": CONSUMING.schema})
    await owner.execute(TABLE)
    await owner.close()
    address = Address(url, CONSUMING.role, CONSUMING.schema)
    async with Database.open(address, least=1, most=4) as opened:
        yield opened


@pytest.fixture
async def there(database_url: str) -> AsyncIterator[Database]:
    """The consumer's own database."""
    async with consuming_database(database_url) as opened:
        yield opened


@pytest.fixture
async def there_owner(there: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        there.address.url, server_settings={"search_path": there.address.schema}
    )
    yield connection
    await connection.close()


@pytest.fixture
def sink(wire: Wire) -> Sink:
    return wire.sink()


@pytest.fixture
def consumer(there: Database, wire: Wire) -> Consumer:
    return consumer_of(there, wire)


def consumer_of(there: Database, wire: Wire) -> Consumer:
    return Consumer(there, wire.source(), {"number.drawn": note_numbers})


async def draw(db: Executor, *numbers: int) -> None:
    await emit(db, "number.drawn", *({"number": number} for number in numbers))


async def drain(db: Database, sink: Sink) -> None:
    """Until nothing waits, whatever has just happened to the broker."""
    while True:
        with suppress(BrokerAwayError):
            relayed = await relay(db, sink)
            if not relayed and not (await outbox.select_events_waiting(db)).events:
                return


async def consume_all(consumer: Consumer) -> None:
    while await consumer.consume():
        pass


async def applied(there: Database) -> list[int]:
    rows = await there.fetch("SELECT number FROM numbers ORDER BY position")
    return [row["number"] for row in rows]


def drawn(number: int, at: datetime) -> Envelope:
    return {
        "id": str(uuid4()).encode(),
        "at": at.isoformat().encode(),
        "type": b"number.drawn",
        "payload": b'{"number": %d}' % number,
    }


async def add(wire: RedisWire, number: int, at: datetime, place: str) -> UUID:
    """An entry as a relay writes it, but at a place and with a time of one's choice."""
    envelope: Any = drawn(number, at)
    await wire.redis.xadd(wire.stream, envelope, id=place)
    return UUID(envelope["id"].decode())


def place_of(at: datetime) -> str:
    return f"{int(at.timestamp() * 1000)}-0"


async def test_events_are_applied_in_their_order(
    consumer: Consumer, db: Database, sink: Sink, there: Database
) -> None:
    await draw(db, *range(BATCH * 2 + 1))
    await drain(db, sink)
    await consume_all(consumer)
    assert await applied(there) == list(range(BATCH * 2 + 1))
    assert await consumer.consume() == 0


async def test_an_event_that_is_sent_again_is_applied_once(
    consumer: Consumer, db: Database, wire: Wire, sink: Sink, there: Database
) -> None:
    await draw(db, 1, 2)
    await drain(db, sink)
    await outbox.update_events_waiting_again(db)  # as if the relay had died before it marked them
    await drain(db, sink)
    await consume_all(consumer)
    await outbox.update_events_waiting_again(db)
    await draw(db, 3)
    await drain(db, sink)
    await consume_all(consumer)
    assert len(await wire.events()) == 2 + 2 + 3
    assert await applied(there) == [1, 2, 3]


async def test_events_of_other_types_are_passed_over(
    consumer: Consumer, db: Database, sink: Sink, there: Database
) -> None:
    await emit(db, "letter.drawn", {"letter": "a"})
    await draw(db, 1)
    await emit(db, "letter.drawn", {"letter": "b"})
    await drain(db, sink)
    await consume_all(consumer)
    assert await applied(there) == [1]
    assert await there.fetchval("SELECT count(*) FROM inbox") == 1


async def test_events_of_several_types_keep_their_order(
    consumer: Consumer, db: Database, sink: Sink, there: Database
) -> None:
    async def note_letters(db: Executor, events: Sequence[Event]) -> None:
        await db.execute(
            "INSERT INTO numbers (number) SELECT -1 FROM unnest($1::uuid[])",
            [event.id for event in events],
        )

    both = replace(consumer, handlers={**consumer.handlers, "letter.drawn": note_letters})
    await draw(db, 1)
    await emit(db, "letter.drawn", {"letter": "a"})
    await draw(db, 2, 3)
    await drain(db, sink)
    await consume_all(both)
    assert await applied(there) == [1, -1, 2, 3]


@pytest.mark.usefixtures("patient")
async def test_several_consumers_at_once_apply_nothing_twice(
    db: Database, wire: Wire, sink: Sink, there: Database
) -> None:
    await draw(db, *range(BATCH * 3))
    await drain(db, sink)
    await asyncio.gather(*(consume_all(consumer_of(there, wire)) for _ in range(4)))
    assert await applied(there) == list(range(BATCH * 3))


async def test_a_consumer_that_dies_after_applying_leaves_no_trace(
    consumer: Consumer,
    db: Database,
    sink: Sink,
    there: Database,
    there_owner: asyncpg.Connection,
) -> None:
    pids: asyncio.Queue[int] = asyncio.Queue()

    async def die(db: Executor, events: Sequence[Event]) -> None:
        await note_numbers(db, events)
        await pids.put(await db.fetchval("SELECT pg_backend_pid()"))
        await db.execute("SELECT pg_sleep(60)")

    dying = replace(consumer, handlers={"number.drawn": die})
    await draw(db, 1, 2)
    await drain(db, sink)
    consuming = asyncio.create_task(dying.consume())
    await there_owner.execute("SELECT pg_terminate_backend($1)", await pids.get())
    with pytest.raises(DatabaseAwayError):
        await consuming
    assert await applied(there) == []
    assert await there.fetchval("SELECT count(*) FROM set_aside") == 0
    await consume_all(consumer)
    assert await applied(there) == [1, 2]


@pytest.mark.usefixtures("patient")
async def test_a_second_consumer_waits_for_the_first_and_does_not_repeat_it(
    consumer: Consumer,
    db: Database,
    sink: Sink,
    there: Database,
    there_owner: asyncpg.Connection,
) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def linger(db: Executor, events: Sequence[Event]) -> None:
        await note_numbers(db, events)
        begun.set()
        await finish.wait()

    await draw(db, 1, 2)
    await drain(db, sink)
    first = asyncio.create_task(replace(consumer, handlers={"number.drawn": linger}).consume())
    await begun.wait()
    second = asyncio.create_task(consumer.consume())
    while not await there_owner.fetchval(WAITING):
        await asyncio.sleep(0.005)
    assert not second.done()
    finish.set()
    await asyncio.gather(first, second)
    assert await applied(there) == [1, 2]


async def test_a_broker_that_comes_back_empty_changes_nothing(
    consumer: Consumer, db: Database, wire: Wire, sink: Sink, there: Database
) -> None:
    await draw(db, 1, 2)
    await drain(db, sink)
    await consume_all(consumer)
    await wire.lose()
    await draw(db, 3)
    await drain(db, sink)
    await consume_all(consumer)
    assert len(await wire.events()) == 3
    assert await applied(there) == [1, 2, 3]


async def test_a_new_log_that_is_longer_than_the_old_one_was_is_read_whole(
    consumer: Consumer, db: Database, wire: Wire, sink: Sink, there: Database
) -> None:
    """Where the reader stopped there is an entry again, but another one."""
    await draw(db, 2)
    await drain(db, sink)
    await consume_all(consumer)
    await wire.lose()
    await db.execute("DELETE FROM outbox")  # as time does
    await draw(db, 3, 4, 5)
    await drain(db, sink)
    await consume_all(consumer)
    assert await applied(there) == [2, 3, 4, 5]


async def test_another_broker_and_back_again_changes_nothing(
    redis_wire: RedisWire, kafka_wire: KafkaWire, db: Database, there: Database
) -> None:
    """Whatever was told at one of them and not read there is told again at the next."""
    for turn, wire in enumerate((redis_wire, kafka_wire, redis_wire)):
        wire.stream = "events:numbers"
        consumer, sink = consumer_of(there, wire), wire.sink()
        await draw(db, 2 * turn)
        await drain(db, sink)
        await consume_all(consumer)
        await draw(db, 2 * turn + 1)
        await drain(db, sink)
        assert await applied(there) == list(range(2 * turn + 1))


async def test_a_new_stream_whose_clock_is_behind_is_read_too(
    redis_wire: RedisWire, there: Database
) -> None:
    consumer = consumer_of(there, redis_wire)
    now = datetime.now(UTC)
    await add(redis_wire, 1, now, place_of(now))
    await consume_all(consumer)
    await redis_wire.lose()
    behind = now - timedelta(hours=3)
    await add(redis_wire, 2, now, place_of(behind))
    await consume_all(consumer)
    await add(redis_wire, 3, now, place_of(behind + timedelta(seconds=1)))
    await consume_all(consumer)
    assert await applied(there) == [1, 2, 3]


async def test_a_stream_that_was_trimmed_is_read_from_where_it_begins_now(
    consumer: Consumer, db: Database, wire: Wire, sink: Sink, there: Database
) -> None:
    await draw(db, 1)
    await drain(db, sink)
    await consume_all(consumer)
    await draw(db, 2, 3, 4)
    await drain(db, sink)
    await wire.trim(2)
    await consume_all(consumer)
    assert await applied(there) == [1, 3, 4]


async def test_what_the_inbox_has_forgotten_is_not_applied_again(
    redis_wire: RedisWire, there: Database, there_owner: asyncpg.Connection
) -> None:
    """Redis came back without its newest entry, but with some that are older than the inbox."""
    consumer = consumer_of(there, redis_wire)
    now = datetime.now(UTC)
    old = now - timedelta(days=9)
    forgotten = await add(redis_wire, 1, old, place_of(old))
    await add(redis_wire, 2, now, place_of(now))
    newest = place_of(now + timedelta(seconds=1))
    await add(redis_wire, 3, now, newest)
    await consume_all(consumer)
    await there_owner.execute("DELETE FROM inbox WHERE event_id = $1", forgotten)
    await redis_wire.redis.xdel(redis_wire.stream, newest)
    await add(redis_wire, 4, now, place_of(now + timedelta(seconds=2)))
    await consume_all(consumer)
    assert await applied(there) == [1, 2, 3, 4]


async def test_a_relay_sends_nothing_again_that_the_inbox_may_have_forgotten(
    db: Database, owner: asyncpg.Connection
) -> None:
    remembers = await owner.fetchval("SELECT keep FROM partition_plans WHERE parent = 'inbox'")
    assert remembers >= timedelta(days=8)
    await owner.execute(
        """DO $$ BEGIN EXECUTE format(
             'CREATE TABLE outbox_of_last_week PARTITION OF outbox FOR VALUES FROM (%L) TO (%L)',
             now() - interval '8 days', now() - interval '2 days');
           END $$;
           INSERT INTO outbox (created_at, type, payload, relayed_at) VALUES
             (now() - interval '169 hours', 'number.drawn', '{"number": 1}', now()),
             (now() - interval '167 hours', 'number.drawn', '{"number": 2}', now())"""
    )
    assert await outbox.update_events_waiting_again(db) == 1


async def test_no_day_of_the_inbox_is_read_whole_while_nothing_is_known_of_it(
    there: Database, there_owner: asyncpg.Connection
) -> None:
    """Each day begins with a new partition, and has no statistics while its first events come."""
    await there_owner.execute("INSERT INTO inbox SELECT uuidv7() FROM generate_series(1, 2000)")
    await there_owner.execute(f"PREPARE seen AS {queries.SELECT_EVENTS_SEEN}")
    for mode in ("force_generic_plan", "force_custom_plan"):
        await there_owner.execute(f"SET plan_cache_mode = {mode}")
        explained = await there_owner.fetch("EXPLAIN EXECUTE seen(ARRAY[uuidv7(), uuidv7()])")
        assert not [row[0] for row in explained if "Seq Scan" in row[0]]


async def test_a_poison_event_is_set_aside_and_the_others_are_applied(
    consumer: Consumer, db: Database, sink: Sink, there: Database
) -> None:
    await draw(db, 1, POISON, 2)
    await emit(db, "number.drawn", {"no": "number"})
    await draw(db, 3)
    await drain(db, sink)
    await consume_all(consumer)
    assert await applied(there) == [1, 2, 3]
    assert await there.fetchval("SELECT count(*) FROM inbox") == 5
    rows = await there.fetch(
        """SELECT convert_from(payload, 'UTF8') AS payload, split_part(error, '(', 1) AS error
           FROM set_aside ORDER BY at, event_id"""
    )
    assert [tuple(row) for row in rows] == [
        ('{"number": 1000000}', "CheckViolationError"),
        ('{"no": "number"}', "KeyError"),
    ]


async def test_no_event_is_blamed_for_a_database_that_is_busy(
    redis_wire: RedisWire, db: Database, there: Database, there_owner: asyncpg.Connection
) -> None:
    """They keep their order then, too."""
    consumer = consumer_of(there, redis_wire)
    await draw(db, 1, 2)
    await drain(db, redis_wire.sink())
    async with there_owner.transaction():
        await there_owner.execute("LOCK TABLE numbers")
        with pytest.raises(DatabaseBusyError):
            await consumer.consume()
    await consume_all(consumer)
    assert await applied(there) == [1, 2]


async def test_an_event_whose_statement_is_ended_by_the_database_is_set_aside(
    redis_wire: RedisWire, db: Database, there: Database
) -> None:
    """As one is that takes too long, and would again."""
    cancel = "SELECT pg_cancel_backend(pg_backend_pid()) FROM numbers WHERE number = 2"

    async def note_and_cancel(executor: Executor, events: Sequence[Event]) -> None:
        await note_numbers(executor, events)
        await executor.execute(cancel)

    consumer = Consumer(there, redis_wire.source(), {"number.drawn": note_and_cancel})
    await draw(db, 1, 2, 3)
    await drain(db, redis_wire.sink())
    await consume_all(consumer)
    assert await applied(there) == [1, 3]
    assert await there.fetchval("SELECT count(*) FROM set_aside") == 1


async def test_what_was_set_aside_is_applied_once_its_cause_is_gone(
    consumer: Consumer, db: Database, sink: Sink, there: Database, there_owner: asyncpg.Connection
) -> None:
    await draw(db, POISON, 1)
    await drain(db, sink)
    await consume_all(consumer)
    gauge = set_aside.of(there.address.schema, consumer.stream)
    assert await consumer.try_again() == 0  # it has only just been tried
    assert gauge.value == 1
    await a_minute_later(there_owner)
    assert await consumer.try_again() == 1
    assert await applied(there) == [1]

    await there_owner.execute("ALTER TABLE numbers DROP CONSTRAINT small")
    await a_minute_later(there_owner)
    await asyncio.gather(*(consumer.try_again() for _ in range(3)))
    assert await applied(there) == [1, POISON]
    await consumer.try_again()
    assert gauge.value == 0


async def a_minute_later(there_owner: asyncpg.Connection) -> None:
    await there_owner.execute("UPDATE set_aside SET tried_at = tried_at - interval '61 s'")


async def test_a_poison_event_that_is_sent_again_is_set_aside_once(
    consumer: Consumer, db: Database, wire: Wire, sink: Sink, there: Database
) -> None:
    await draw(db, POISON)
    await drain(db, sink)
    await consume_all(consumer)
    await wire.lose()
    await drain(db, sink)
    await consume_all(consumer)
    assert await there.fetchval("SELECT count(*) FROM set_aside") == 1


async def test_what_is_no_event_is_passed_over(
    consumer: Consumer, db: Database, sink: Sink, there: Database
) -> None:
    nonsense: list[Envelope] = [
        {"type": b"number.drawn"},
        {"type": b"number.drawn", "id": b"1", "at": b"now", "payload": b"{}"},
        {"odd": b"\xff", "type": b"\xff", "id": b"\xff"},
    ]
    await drain(db, sink)  # begins the stream
    await sink.append(nonsense)
    await draw(db, 1)
    await drain(db, sink)
    await consume_all(consumer)
    assert await applied(there) == [1]


async def test_the_lag_is_the_age_of_what_was_applied_last(
    consumer: Consumer, sink: Sink, there: Database
) -> None:
    lag = lag_s.of(there.address.schema, consumer.stream)
    now = datetime.now(UTC)
    await sink.begin()
    await sink.append([drawn(1, now - timedelta(hours=1))])
    await consumer.consume()
    assert 3600 <= lag.value <= 3600 + time.time() - now.timestamp()
    await consumer.consume()
    assert lag.value == 0


@asynccontextmanager
async def at_work(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until_applied(there: Database, *numbers: int) -> None:
    while True:
        with suppress(DatabaseAwayError):
            if await applied(there) == list(numbers):
                return
        await asyncio.sleep(0.01)


async def test_a_consumer_goes_on_when_the_broker_is_back(
    mortal: Wire, db: Database, there: Database
) -> None:
    work = (relay_for_ever(db, mortal.sink()), consume_for_ever(consumer_of(there, mortal)))
    await draw(db, 1)
    async with at_work(*work):
        await until_applied(there, 1)
        mortal.server.kill()
        await draw(db, 2)
        mortal.server.restart()
        await until_applied(there, 1, 2)


async def test_a_consumer_goes_on_when_its_database_is_back(
    own_postgres: Running, db: Database, redis_wire: RedisWire
) -> None:
    url = own_postgres.server.url
    await migrate(url, CONSUMING)
    async with consuming_database(url) as there:
        work = (
            relay_for_ever(db, redis_wire.sink()),
            consume_for_ever(consumer_of(there, redis_wire)),
        )
        await draw(db, 1)
        async with at_work(*work):
            await until_applied(there, 1)
            own_postgres.kill()
            await draw(db, 2)
            await asyncio.sleep(0.5)
            own_postgres.restart()
            await until_applied(there, 1, 2)
        assert await there.fetchval("SELECT count(*) FROM set_aside") == 0
