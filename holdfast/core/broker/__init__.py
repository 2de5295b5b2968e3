"""The broker: where events go to and are read from. Redis Streams, or Kafka where a setting says so.

A stream is known by its name (`events:orders`). The outbox appends to it through a `Sink`, a
consumer reads it through a `Source`. What travels is an envelope: `id`, `at`, `type` and `payload`.

A broker may lose what it has, and be another one tomorrow. So both find out whether the entry where
somebody stopped is still the same one: the sink for the relay, the source for its reader. What
follows from that is decided by who keeps the truth, in PostgreSQL: `outbox` and `streams`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple, Protocol

from holdfast.core.redis import connect as connect_redis
from holdfast.core.settings import Settings

Envelope = Mapping[str, bytes]

BEGAN: Envelope = {"type": b"stream.began"}
SENT_AGAIN = timedelta(days=7)  # by a relay at most; a consumer's inbox remembers a day longer


class BrokerAwayError(Exception):
    """The broker did not answer as it should: what was to be done may have been done or not."""


class Log(NamedTuple):
    """Where a stream is, and whether the entry is still there that was asked for."""

    place: str
    whole: bool


class Entry(NamedTuple):
    position: str
    envelope: Envelope


class Sink(Protocol):
    @property
    def stream(self) -> str: ...

    async def look(self, position: str) -> Log:
        """Whether the log is the one that has this entry, or had it and has dropped it for its age."""

    async def begin(self) -> str:
        """Say in the log that the stream begins here, and make the log where there is none. Answers
        with the position of that.
        """

    async def append(self, envelopes: Sequence[Envelope]) -> str:
        """Append these in their order, and answer with the position of the last. Whether they went
        to the log that one knows is told by a look at it afterwards.
        """


class Source(Protocol):
    @property
    def stream(self) -> str: ...

    async def read(self, after: str, most: int) -> list[Entry]:
        """The entries after a position, or from the beginning when there is none yet.

        When the entry there is gone, the log was trimmed, emptied or restored, or this is another
        broker, and its entries may not be the ones we knew. So it is read from as far back as a
        relay would send again; the inbox knows what of that was applied.
        """


class Broker(Protocol):
    def sink(self, stream: str) -> Sink: ...
    def source(self, stream: str) -> Source: ...


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Broker]:
    """The broker that the settings name; it may be away, and come later."""
    if settings.events_url:
        from holdfast.core.broker import kafka  # noqa: PLC0415 - who does not use it has not to wait

        async with kafka.connect(settings.events_url) as broker:
            yield broker
    else:
        from holdfast.core.broker.redis import RedisStreams  # noqa: PLC0415 - it imports this module

        async with connect_redis(settings) as redis:
            yield RedisStreams(redis)
