"""A broker as its tests see it: both ends of one stream, what is in it, and how it gets lost.

What the outbox and the consumers promise holds whatever the broker is, so their tests run with each.
"""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import count
from typing import Any

from aiokafka.admin import (
    AIOKafkaAdminClient,
    RecordsToDelete,
)
from aiokafka.structs import TopicPartition
from redis.asyncio import Redis

from holdfast.cli.servers import Running
from holdfast.core.broker import BEGAN, Broker, Envelope, Sink, Source
from holdfast.core.broker.redis import RedisStreams

MANY = 10_000
_numbers = count(1)


@dataclass
class Wire(ABC):
    broker: Broker
    server: Running
    stream: str

    def sink(self) -> Sink:
        return self.broker.sink(self.stream)

    def source(self) -> Source:
        return self.broker.source(self.stream)

    async def events(self) -> list[Envelope]:
        """All that is in the stream, in its order, except that it began."""
        source, after, found = self.source(), "", list[Envelope]()
        while entries := await source.read(after, MANY):
            found += [entry.envelope for entry in entries]
            after = entries[-1].position
        return [envelope for envelope in found if envelope["type"] != BEGAN["type"]]

    @abstractmethod
    async def lose(self) -> None:
        """All of it, and the stream too."""

    @abstractmethod
    async def trim(self, events: int) -> None:
        """To the last few."""


@dataclass
class RedisWire(Wire):
    redis: Redis

    @classmethod
    def of(cls, redis: Redis, server: Running) -> "RedisWire":
        return cls(RedisStreams(redis), server, "events:numbers", redis)

    async def lose(self) -> None:
        await self.redis.flushall()

    async def trim(self, events: int) -> None:
        await self.redis.xtrim(self.stream, maxlen=events, approximate=False)


@dataclass
class KafkaWire(Wire):
    admin: AIOKafkaAdminClient

    @classmethod
    def of(cls, broker: Broker, server: Running, admin: AIOKafkaAdminClient) -> "KafkaWire":
        return cls(broker, server, f"events:numbers_{next(_numbers)}", admin)

    @property
    def topic(self) -> str:
        return self.stream.replace(":", ".")

    async def lose(self) -> None:
        await self.admin.delete_topics([self.topic])
        while self.topic in await self.admin.list_topics():
            await asyncio.sleep(0.01)

    async def trim(self, events: int) -> None:
        kept = len(await self.events()) + 1 - events  # the first entry says that it began
        partition: Any = TopicPartition(self.topic, 0)
        await self.admin.delete_records({partition: RecordsToDelete(before_offset=kept)})
