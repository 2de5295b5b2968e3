"""Kafka as the broker: for each stream a topic with one partition (`events.orders`).

One partition keeps the order in which events left the outbox, as a Redis Stream does; events are
few enough for one, and a consumer that took part of them only would see an order's events overtake
each other. So there is no key to choose a partition by, and no other partition is written or read,
whoever made the topic. Whoever reads keeps the position; there are no consumer groups here.

The clients are aiokafka's. They try again by themselves for some seconds; then they are thrown away
with what went wrong, and the next call connects anew. The producer is not the idempotent one: that
would never give a batch up, nor be stopped, while the broker is away. What a repetition writes twice
has the same ids.
"""

import asyncio
import logging
import re
import time
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    TopicPartition,
)
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NoError,
    TopicAlreadyExistsError,
    for_code,
)

from holdfast.core.broker import BEGAN, SENT_AGAIN, BrokerAwayError, Entry, Envelope, Log
from holdfast.core.redis import is_cancelled

REQUEST_TIMEOUT_MS = 3_000  # sending holds a transaction, which may be idle for ten seconds
TRY_AGAIN_MS = 250
CLOSE_TIMEOUT_S = 10
BATCH_BYTES = 64 * 1024  # a look at an entry reads as much
BROKERS_CHOICE = -1
KEPT_MS = int((2 * SENT_AGAIN) / timedelta(milliseconds=1))
TOPIC = {"retention.ms": str(KEPT_MS), "message.timestamp.type": "LogAppendTime"}
POSITION = re.compile(r"(\d+)@.*")
log = logging.getLogger(__name__)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator["Kafka"]:
    async with AsyncExitStack() as closing:
        yield Kafka(url.removeprefix("kafka://"), closing)


@dataclass(frozen=True)
class Kafka:
    servers: str
    closing: AsyncExitStack

    def sink(self, stream: str) -> "KafkaSink":
        sink = KafkaSink(self.servers, stream)
        self.closing.push_async_callback(sink.close)
        return sink

    def source(self, stream: str) -> "KafkaSource":
        source = KafkaSource(self.servers, stream)
        self.closing.push_async_callback(source.close)
        return source


class KafkaSink:
    def __init__(self, servers: str, stream: str) -> None:
        self.stream = stream
        self._partition = partition_of(stream)
        self._connection = _Connection(partial(_sending, servers, self._partition))

    async def look(self, position: str) -> Log:
        found = await self._look(position)
        if not found.whole:  # another log, and maybe of another cluster
            await self._connection.close()
            found = await self._look(position)
        return found

    async def _look(self, position: str) -> Log:
        known = POSITION.fullmatch(position)
        async with self._connection.use() as (place, reader, _):
            if not known:
                return Log(place, whole=False)
            kept, end = await _extent(reader, self._partition)
            offset = int(known[1])
            if offset < kept or offset >= end:
                return Log(place, whole=offset < kept)
            [entry] = await _fetch(reader, self._partition, offset, 1)
            return Log(place, entry.position == position)

    async def begin(self) -> str:
        return await self.append([BEGAN])

    async def append(self, envelopes: Sequence[Envelope]) -> str:
        async with self._connection.use() as (_, _, producer):
            told = [await producer.send(**self._record(envelope)) for envelope in envelopes]
            offsets = [place.offset for place in await asyncio.gather(*told)]
        return _position(offsets[-1], envelopes[-1])

    async def close(self) -> None:
        await self._connection.close()

    def _record(self, envelope: Envelope) -> dict[str, Any]:
        return {
            **self._partition._asdict(),
            "headers": [item for item in envelope.items() if item[0] != "payload"],
            "value": envelope.get("payload", b""),
        }


class KafkaSource:
    def __init__(self, servers: str, stream: str) -> None:
        self.stream = stream
        self._partition = partition_of(stream)
        self._connection = _Connection(partial(_reading, servers, self._partition))
        self._at_the_end: tuple[Any, str, int] | None = None

    async def read(self, after: str, most: int) -> list[Entry]:
        known = POSITION.fullmatch(after)
        async with self._connection.use() as consumer:
            kept, end = await _extent(consumer, self._partition)
            offset = int(known[1]) if known else end
            if self._at_the_end == (consumer, after, end):
                return []
            if kept <= offset < end:
                found = await _fetch(consumer, self._partition, offset, most + 1)
                if found[0].position == after:
                    if len(found) == 1 and offset + 1 < end:  # the rest is in another segment
                        return await _fetch(consumer, self._partition, offset + 1, most)
                    self._at_the_end = (consumer, after, end) if len(found) == 1 else None
                    return found[1:]
            since = min(offset, await self._week_ago(consumer, end)) if after else 0
            since = max(since, kept)
            return await _fetch(consumer, self._partition, since, most) if since < end else []

    async def close(self) -> None:
        await self._connection.close()

    async def _week_ago(self, consumer: Any, end: int) -> int:
        at_ms = int((time.time() - SENT_AGAIN.total_seconds()) * 1000)
        found = (await consumer.offsets_for_times({self._partition: at_ms}))[self._partition]
        return int(found.offset) if found else end


class _Connection:
    """Clients that are connected from their first use until something goes wrong."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._connect = connect
        self._clients: Any = None
        self._closing = AsyncExitStack()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Any]:
        try:
            if self._clients is None:
                self._clients = await self._closing.enter_async_context(self._connect())
            yield self._clients
        except (KafkaError, OSError, TimeoutError, CancelledError) as error:
            if isinstance(error, CancelledError) and is_cancelled():
                raise
            await self.close()
            raise BrokerAwayError(repr(error)) from error

    async def close(self) -> None:
        self._clients = None
        with suppress(TimeoutError):  # what is still to be sent to a frozen broker never is
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._closing.aclose()


@asynccontextmanager
async def _sending(servers: str, partition: Any) -> AsyncIterator[tuple[str, Any, Any]]:
    """Where it is, who reads there, and who sends."""
    async with (
        _reading(servers, partition) as reader,
        _started(AIOKafkaProducer, servers, acks="all", max_batch_size=BATCH_BYTES) as producer,
    ):
        yield await _make_topic(servers, partition.topic), reader, producer


@asynccontextmanager
async def _reading(servers: str, partition: Any) -> AsyncIterator[Any]:
    await _make_topic(servers, partition.topic)
    async with _started(AIOKafkaConsumer, servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        consumer.pause(partition)
        try:
            yield consumer
        finally:
            await _stop(consumer)


async def _stop(consumer: Any) -> None:
    """A consumer that was about to repeat a request is stopped as if we were cancelled, and only half.

    Without this the relay would end with the first failure, and nobody would hear of it: a group of
    tasks takes it for a task that was told to end.
    """
    try:
        await consumer.stop()
    except CancelledError:
        if is_cancelled():
            raise
        await consumer._client.close()  # noqa: SLF001 - what `stop` did not come to


@asynccontextmanager
async def _started(client: Callable[..., Any], servers: str, **options: Any) -> AsyncIterator[Any]:
    started = client(
        bootstrap_servers=servers,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=TRY_AGAIN_MS,
        **options,
    )
    try:
        await started.start()
        yield started
    finally:
        await started.stop()


async def _make_topic(servers: str, topic: str) -> str:
    """Make the topic if it is missing; answers which cluster this is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        wanted = NewTopic(topic, 1, BROKERS_CHOICE, replica_assignments={}, topic_configs=TOPIC)
        try:
            [(_, code, sentence)] = (await admin.create_topics([wanted])).topic_errors
        except AttributeError as error:  # so aiokafka takes it that there is no controller
            raise KafkaConnectionError("Kafka has no controller at the moment.") from error
        if for_code(code) not in (NoError, TopicAlreadyExistsError):
            log.warning(
                "Kafka does not let us make the topic %s, so it must be there: %s", topic, sentence
            )
        return f"kafka {(await admin.describe_cluster())['cluster_id']}"
    finally:
        await admin.close()


def partition_of(stream: str) -> Any:
    return TopicPartition(stream.replace(":", "."), 0)  # a topic's name may not have a colon


async def _extent(consumer: Any, partition: Any) -> tuple[int, int]:
    """The offset of the first record that is kept, and the one that the next will have."""
    kept = await consumer.beginning_offsets([partition])
    end = await consumer.end_offsets([partition])
    return int(kept[partition]), int(end[partition])


async def _fetch(consumer: Any, partition: Any, offset: int, most: int) -> list[Entry]:
    """Entries from where there are some."""
    consumer.seek(partition, offset)
    consumer.resume(partition)
    found = await consumer.getmany(partition, timeout_ms=REQUEST_TIMEOUT_MS, max_records=most)
    consumer.pause(partition)  # else it would go on reading, and from there
    if not found:
        raise KafkaTimeoutError(f"Kafka has entries of {partition.topic} and does not give them.")
    return [_entry(record) for record in found[partition]]


def _entry(record: Any) -> Entry:
    envelope = {name: value or b"" for name, value in record.headers}
    envelope["payload"] = record.value or b""
    return Entry(_position(record.offset, envelope), envelope)


def _position(offset: int, envelope: Envelope) -> str:
    """One that no other log has: an offset, and the id of the event that is there."""
    return f"{offset}@{envelope.get('id', b'').decode(errors='replace')}"
