"""Redis Streams as the broker: one stream, of about the last million events."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from holdfast.core.broker import BEGAN, SENT_AGAIN, BrokerAwayError, Entry, Envelope, Log

PLACE = "redis"
STREAM_LENGTH = 1_000_000
POSITION = re.compile(r"\d+-\d+")
BEGINNING = "-"


@dataclass(frozen=True)
class RedisStreams:
    redis: Redis

    def sink(self, stream: str) -> "RedisSink":
        return RedisSink(self.redis, stream)

    def source(self, stream: str) -> "RedisSource":
        return RedisSource(self.redis, stream)


@dataclass(frozen=True)
class RedisSink:
    redis: Redis
    stream: str

    async def look(self, position: str) -> Log:
        """Before positions were noted, a stream that was there was the one."""
        with _answering():
            if not position:
                return Log(PLACE, bool(await self.redis.exists(self.stream)))
            if not POSITION.fullmatch(position):  # of another broker
                return Log(PLACE, whole=False)
            return Log(PLACE, bool(await self.redis.xrange(self.stream, position, position)))

    async def begin(self) -> str:
        with _answering():
            place: Any = await self.redis.xadd(self.stream, _fields(BEGAN))
        return str(place.decode())

    async def append(self, envelopes: Sequence[Envelope]) -> str:
        pipeline = self.redis.pipeline(transaction=False)
        for envelope in envelopes:
            _ = pipeline.xadd(
                self.stream,
                _fields(envelope),
                maxlen=STREAM_LENGTH,
                approximate=True,
                nomkstream=True,
            )
        with _answering():
            places = await pipeline.execute()
        return (places[-1] or b"").decode()  # where there is no stream, none is made


@dataclass(frozen=True)
class RedisSource:
    redis: Redis
    stream: str

    async def read(self, after: str, most: int) -> list[Entry]:
        if POSITION.fullmatch(after):
            found = await self._from(after, most + 1)
            if found and found[0].position == after:
                return found[1:]
        return await self._from(_as_far_back(after), most)

    async def _from(self, place: str, most: int) -> list[Entry]:
        with _answering():
            found: Any = await self.redis.xrange(self.stream, min=place, count=most)
        return [Entry(place.decode(), _envelope(fields)) for place, fields in found]


def _as_far_back(after: str) -> str:
    if not after:
        return BEGINNING
    week_ago = f"{int((time.time() - SENT_AGAIN.total_seconds()) * 1000)}-0"
    return min(after, week_ago, key=_in_order) if POSITION.fullmatch(after) else week_ago


def _in_order(place: str) -> tuple[int, ...]:
    return tuple(int(part) for part in place.split("-"))


def _fields(envelope: Envelope) -> dict[Any, Any]:
    return dict(envelope)


def _envelope(fields: Mapping[bytes, bytes]) -> Envelope:
    return {name.decode(errors="replace"): value for name, value in fields.items()}


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise BrokerAwayError(repr(error)) from error
