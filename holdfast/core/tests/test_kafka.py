"""Kafka as the broker: what is Kafka's own; what holds for every broker is in test_outbox, test_streams."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import yaml
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
)
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import (
    ConfigResource,
    ConfigResourceType,
)

from holdfast.core.broker import SENT_AGAIN, BrokerAwayError, Envelope, kafka
from holdfast.core.broker.kafka import KafkaSource, partition_of
from holdfast.core.db import Database, Executor
from holdfast.core.manifest import App, apps
from holdfast.core.outbox import emit, queries
from holdfast.core.outbox.relay import relay
from holdfast.core.settings import Settings, SettingsError
from holdfast.core.streams import Consumer, Event
from holdfast.core.tests.wires import KafkaWire

NEEDED = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "HOLDFAST_SECRET": "s" * 32}


def settings(url: str) -> Settings:
    return Settings.load({**NEEDED, "HOLDFAST_EVENTS_URL": url})


@pytest.mark.parametrize("url", ["kafka://one:9092", "kafka://one.example:1,10.0.0.2:65535"])
def test_the_setting_names_one_server_or_several(url: str) -> None:
    assert settings(url).events_url == url


@pytest.mark.parametrize(
    "url",
    [
        *("kafka://", "kafka://one", "one:9092", "redis://one:6379", "kafka://one:9092/0"),
        *("kafka://one:0", "kafka://one:65536", "kafka://one:9092,", "kafka://one:9092, two:9092"),
        "kafka://user:password@one:9092",
    ],
)
def test_a_setting_that_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="HOLDFAST_EVENTS_URL: Say where Kafka is: kafka://"):
        settings(url)


def test_without_the_setting_nobody_waits_for_the_client_to_be_imported() -> None:
    looked = "import sys, holdfast.apps.catalog.jobs; print('aiokafka' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", looked], capture_output=True, check=True)  # noqa: S603
    assert told.stdout.strip() == b"False"


@pytest.mark.parametrize(
    "app", [app for app in apps() if app.events.exists()], ids=attrgetter("name")
)
def test_the_contract_binds_each_stream_to_the_topic_that_is_made_of_it(app: App) -> None:
    told = yaml.safe_load(app.events.read_text(encoding="utf-8"))
    assert {server["protocol"] for server in told["servers"].values()} == {"redis", "kafka"}
    [channel] = told["channels"].values()
    bound = channel["bindings"]["kafka"]
    assert (bound["topic"], 0) == tuple(kafka.partition_of(channel["address"]))
    assert bound["partitions"] == 1
    assert str(bound["topicConfiguration"]["retention.ms"]) == kafka.TOPIC["retention.ms"]


async def records_of(wire: KafkaWire) -> list[Any]:
    """All records of all partitions, as they are."""
    servers = wire.server.server.url.removeprefix("kafka://")
    async with AIOKafkaConsumer(
        wire.topic, bootstrap_servers=servers, auto_offset_reset="earliest"
    ) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[Any] = []
        while len(found) < sum(ends.values()):
            found += [await consumer.getone()]
    return found


async def test_a_record_has_the_payload_as_its_value_and_the_rest_in_headers(
    db: Database, kafka_wire: KafkaWire
) -> None:
    await emit(db, "number.drawn", {"number": 1})
    await relay(db, kafka_wire.sink())
    began, record = await records_of(kafka_wire)
    assert began.headers == (("type", b"stream.began"),)
    assert [name for name, _ in record.headers] == ["id", "at", "type"]
    assert msgspec.json.decode(record.value) == {"number": 1}
    assert (record.partition, record.key) == (0, None)


async def test_a_topic_is_made_with_one_partition_that_keeps_longer_than_a_relay_repeats(
    kafka_wire: KafkaWire,
) -> None:
    await kafka_wire.sink().look("")
    [topic] = await kafka_wire.admin.describe_topics([kafka_wire.topic])
    assert len(topic["partitions"]) == 1
    [told] = await kafka_wire.admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, kafka_wire.topic)]
    )
    [(*_, settings)] = told.resources
    set_to = {name: value for name, value, *_ in settings}
    assert int(set_to["retention.ms"]) > SENT_AGAIN / timedelta(milliseconds=1)


async def test_a_topic_that_somebody_else_has_made_keeps_its_order_too(
    db: Database, kafka_wire: KafkaWire
) -> None:
    await kafka_wire.admin.create_topics([NewTopic(kafka_wire.topic, 3, 1)])
    await emit(db, "number.drawn", *({"number": number} for number in range(100)))
    await relay(db, kafka_wire.sink())
    numbers = [msgspec.json.decode(event["payload"]) for event in await kafka_wire.events()]
    assert numbers == [{"number": number} for number in range(100)]


async def test_what_the_inbox_has_forgotten_is_not_read_again(
    kafka_wire: KafkaWire, db: Database, owner: asyncpg.Connection
) -> None:
    """The log is another one than the position tells of, and has what is older than the inbox."""
    now = datetime.now(UTC)
    await send_as_of(kafka_wire, now - timedelta(days=9), now - timedelta(hours=1))
    consumed: list[datetime] = []

    async def note(db: Executor, events: Sequence[Event]) -> None:
        consumed.extend(event.at for event in events)

    await owner.execute(
        "INSERT INTO stream_positions VALUES ($1, '1@of another log')", kafka_wire.stream
    )
    consumer = Consumer(db, kafka_wire.source(), {"number.drawn": note})
    while await consumer.consume():
        pass
    assert consumed == [now - timedelta(hours=1)]


async def send_as_of(wire: KafkaWire, *moments: datetime) -> None:
    """As if Kafka had had these since then."""
    kept = NewTopic(wire.topic, 1, 1, topic_configs={"retention.ms": "-1"})
    await wire.admin.create_topics([kept])
    servers = wire.server.server.url.removeprefix("kafka://")
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for at in moments:
            await producer.send_and_wait(
                wire.topic,
                b"{}",
                timestamp_ms=int(at.timestamp() * 1000),
                headers=[
                    ("id", str(uuid4()).encode()),
                    ("at", at.isoformat().encode()),
                    ("type", b"number.drawn"),
                ],
            )


async def test_what_was_read_and_could_not_be_applied_is_read_again(kafka_wire: KafkaWire) -> None:
    sink, source = kafka_wire.sink(), kafka_wire.source()
    await sink.begin()
    await sink.append([{"id": b"%d" % number, "type": b"t"} for number in range(3)])
    (began,) = await source.read("", 1)
    read = await source.read(began.position, 10)
    assert [entry.envelope["id"] for entry in read] == [b"0", b"1", b"2"]
    assert await source.read(began.position, 10) == read


async def test_what_begins_a_new_file_of_the_topic_is_read_after_the_last_of_the_old_one(
    kafka_wire: KafkaWire,
) -> None:
    """Kafka begins one each week, and never answers with what is in two of them."""
    now = datetime.now(UTC)
    await send_as_of(kafka_wire, now - timedelta(days=8), now)
    source = kafka_wire.source()
    (last_of_old,) = await source.read("", 1)
    (first_of_new,) = await source.read(last_of_old.position, 10)
    assert first_of_new.envelope["at"] == now.isoformat().encode()
    assert await source.read(first_of_new.position, 10) == []


async def test_a_consumer_that_fell_behind_what_is_kept_waits_for_what_comes(
    kafka_wire: KafkaWire, db: Database
) -> None:
    """All that it has not read is gone, and nothing new is there yet: that is no failure of Kafka."""
    sink, source = kafka_wire.sink(), kafka_wire.source()
    await sink.begin()
    await sink.append([{"id": b"%d" % number, "type": b"t"} for number in range(3)])
    (began, *_) = await source.read("", 1)
    await kafka_wire.trim(0)
    assert await source.read(began.position, 10) == []
    await sink.append([{"id": b"3", "type": b"t"}])
    (entry,) = await source.read(began.position, 10)
    assert entry.envelope["id"] == b"3"


async def test_a_broker_that_hangs_is_given_up_before_the_database_gives_the_relay_up(
    kafka_wire: KafkaWire, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending holds a transaction, and PostgreSQL ends one that is idle for ten seconds."""
    sink = kafka_wire.sink()
    await relay(db, sink)
    await emit(db, "number.drawn", {"number": 1})
    append = sink.append

    async def append_while_it_hangs(envelopes: Sequence[Envelope]) -> str:
        os.kill(kafka_wire.server.pid, signal.SIGSTOP)
        return await append(envelopes)

    try:
        with monkeypatch.context() as sending:
            sending.setattr(sink, "append", append_while_it_hangs)
            with pytest.raises(BrokerAwayError):
                await relay(db, sink)
    finally:
        os.kill(kafka_wire.server.pid, signal.SIGCONT)
    assert (await queries.select_events_waiting(db)).events == 1
    relayed = 0
    while not relayed:
        with suppress(BrokerAwayError):  # it needs a moment to come to itself
            relayed = await relay(db, sink)
    assert relayed == 1


async def test_a_broker_that_dies_while_it_is_read_cancels_nobody(kafka_wire: KafkaWire) -> None:
    """The client's own cancellation would end a relay or a consumer without a word."""
    source = KafkaSource(kafka_wire.server.server.url.removeprefix("kafka://"), kafka_wire.stream)
    assert await source.read("", 1) == []
    async with source._connection.use() as consumer:
        consumer.resume(partition_of(kafka_wire.stream))  # it reads on, and on
        kafka_wire.server.kill()
        await asyncio.sleep(0.5)  # most of which it rests between two tries
    try:
        await source.close()
    finally:
        kafka_wire.server.restart()
