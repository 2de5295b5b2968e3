"""Worker memory in front of Redis in front of a load, with validity decided by its user.

`peek` answers from this worker's memory in well under a microsecond, without I/O; `get` asks
Redis, then loads. Callers who want the same key at the same moment share one load, an entry that
is still asked for is refreshed shortly before it expires, and expiry is spread, so that nothing
is loaded by everyone at once. Redis is only speed: its errors and its absence cost a load.

An entry remembers what `noted()` said before its load began, and counts only while
`fresh(value, noted)` holds, wherever it was kept: what is stale in Redis is therefore harmless.
`get` never answers with a load that began before the call and is not fresh. Without such a
predicate an entry lives for its `ttl_s`; `drop` is prompt in this worker, tries its best in
Redis, and does not reach other workers. None is answered but not kept. Keys must differ as text,
values must fit msgspec, and a predicate's numbers must mean the same to all who share a `name`.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from contextvars import Context
from typing import Any, Generic, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

REDIS_PATIENCE_S = 0.1  # slower than this, Redis is no help
SHORTEST_LIFE = 0.9  # of ttl_s; entries born together die apart
EARLIEST_REFRESH = 0.2  # of ttl_s before the end; each worker draws its own moment
LATEST_REFRESH = 0.05
AWAY = (RedisError, OSError, TimeoutError, msgspec.MsgspecError)


class Entry(Generic[V]):
    __slots__ = ("expires_at", "noted", "refresh_at", "value")

    def __init__(self, value: V, noted: int, expires_at: float, ttl_s: float) -> None:
        self.value = value
        self.noted = noted
        self.expires_at = expires_at
        self.refresh_at = expires_at - ttl_s * random.uniform(LATEST_REFRESH, EARLIEST_REFRESH)  # noqa: S311 - no secret


def always(value: object, noted: int) -> bool:
    return True


class Cache(Generic[K, V]):
    def __init__(
        self,
        name: str,
        load: Callable[[K], Awaitable[V]],
        *,
        type: Any,  # noqa: A002 - what msgspec is to decode: a class, or an expression like set[str]
        redis: Redis | None,
        ttl_s: float,
        size: int = 10_000,
        noted: Callable[[], int] = lambda: 0,
        fresh: Callable[[V, int], bool] = always,
    ) -> None:
        self.name = name
        self.hits = 0
        self.misses = 0
        self._load = load
        self._redis = redis
        self._ttl_s = ttl_s
        self._size = size
        self._noted = noted
        self._fresh = fresh
        self._entries: OrderedDict[K, Entry[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[Entry[V]]] = {}
        self._tasks: set[asyncio.Task[Entry[V]]] = set()  # also flights that were dropped
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
            tuple[int, float, type]
        )

    def peek(self, key: K) -> V | None:
        """The value if this worker has it and it counts; never waits."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = time.time()
        if now >= entry.expires_at or not self._fresh(entry.value, entry.noted):
            return None
        if now >= entry.refresh_at:
            entry.refresh_at = entry.expires_at  # one attempt: then it expires as usual
            _ = self._flight(key)
        self._entries.move_to_end(key)
        self.hits += 1
        return entry.value

    async def get(self, key: K) -> V:
        value = self.peek(key)
        if value is not None:
            return value
        self.misses += 1
        under_way = self._flights.get(key)
        if under_way is not None:
            entry = await asyncio.shield(under_way)
            if entry.value is not None and self._fresh(entry.value, entry.noted):
                return entry.value
        # Whatever is in flight by now began after this call did: it cannot be too old for it.
        return (await asyncio.shield(self._flight(key))).value

    async def drop(self, key: K) -> None:
        """Forget it here and in Redis; a load under way is neither kept nor given to newcomers."""
        self._entries.pop(key, None)
        self._flights.pop(key, None)
        if self._redis is not None:
            with suppress(*AWAY):
                async with asyncio.timeout(REDIS_PATIENCE_S):
                    await self._redis.delete(self._redis_key(key))

    async def aclose(self) -> None:
        """End the loads under way, before what they load from is closed."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _flight(self, key: K) -> asyncio.Task[Entry[V]]:
        """The load under way, or a new one. No caller owns it: it survives each of them."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fly(key), name=self.name, context=Context())
            self._tasks.add(flight)
            flight.add_done_callback(self._heed)
            self._flights[key] = flight
        return flight

    async def _fly(self, key: K) -> Entry[V]:
        flight = asyncio.current_task()
        noted = self._noted()
        try:
            entry = await self._recall(key)
            if entry is None:
                entry = self._entry(await self._load(key), noted)
                if self._flights.get(key) is flight:
                    await self._remember(key, entry)
            if self._flights.get(key) is flight:
                self._keep(key, entry)
            return entry
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def _entry(self, value: V, noted: int) -> Entry[V]:
        life_s = self._ttl_s * random.uniform(SHORTEST_LIFE, 1)  # noqa: S311 - no secret
        return Entry(value, noted, time.time() + life_s, self._ttl_s)

    def _keep(self, key: K, entry: Entry[V]) -> None:
        if entry.value is None:
            self._entries.pop(key, None)
            return
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    async def _recall(self, key: K) -> Entry[V] | None:
        """What Redis has, if it counts and is younger than what this worker has."""
        if self._redis is None:
            return None
        try:
            async with asyncio.timeout(REDIS_PATIENCE_S):
                kept: Any = await self._redis.get(self._redis_key(key))
            if kept is None:
                return None
            noted, expires_at, value = self._decoder.decode(kept)
        except AWAY:
            return None
        present = self._entries.get(key)
        if expires_at <= (present.expires_at if present else time.time()):
            return None
        return Entry(value, noted, expires_at, self._ttl_s) if self._fresh(value, noted) else None

    async def _remember(self, key: K, entry: Entry[V]) -> None:
        if self._redis is None or entry.value is None:
            return
        kept = self._encoder.encode((entry.noted, entry.expires_at, entry.value))
        with suppress(*AWAY):
            async with asyncio.timeout(REDIS_PATIENCE_S):
                await self._redis.set(self._redis_key(key), kept, px=int(self._ttl_s * 1000))

    def _redis_key(self, key: K) -> str:
        return f"{self.name}:{key}"

    def _heed(self, flight: asyncio.Task[Entry[V]]) -> None:
        """A failure whose callers have all left, or an early refresh's, is nobody's to see."""
        self._tasks.discard(flight)
        if not flight.cancelled():
            flight.exception()
