import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from holdfast.cli.servers import free_port, running, valkey
from holdfast.core import cache as caches
from holdfast.core.cache import Cache, always

_names = count()


@dataclass
class Source:
    """Where values come from: it counts loads, and can be held."""

    value: int | None = 1
    loads: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.held.set()

    async def load(self, _key: str) -> int | None:
        self.loads += 1
        value = self.value
        await self.held.wait()
        return value


def cache_of(
    source: Source,
    *,
    redis: Redis | None = None,
    ttl_s: float = 60,
    size: int = 100,
    noted: Callable[[], int] = lambda: 0,
    fresh: Callable[[object, int], bool] = always,
    name: str = "",
) -> Cache[str, int | None]:
    return Cache(
        name or f"test{next(_names)}",
        source.load,
        type=int,
        redis=redis,
        ttl_s=ttl_s,
        size=size,
        noted=noted,
        fresh=fresh,
    )


class Clock:
    """The time of entries: it passes when it is told to, and not while this machine is slow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(caches, "time", self)

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Redis]:
    """Waited for, however slow this machine is; a Redis that is not has a test of its own."""
    monkeypatch.setattr(caches, "REDIS_PATIENCE_S", 30)
    async with Redis.from_url(redis_url) as client:
        yield client


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_second_call_is_answered_from_memory_and_peek_sees_it() -> None:
    source = Source()
    cache = cache_of(source)
    assert cache.peek("a") is None
    assert [await cache.get("a") for _ in range(3)] == [1, 1, 1]
    assert cache.peek("a") == 1
    assert (source.loads, cache.hits, cache.misses) == (1, 3, 1)


async def test_callers_of_the_same_moment_share_one_load() -> None:
    source = Source()
    cache = cache_of(source)
    assert await asyncio.gather(*(cache.get("a") for _ in range(9))) == [1] * 9
    assert source.loads == 1


async def test_a_load_survives_callers_who_leave() -> None:
    source = Source()
    source.held.clear()
    cache = cache_of(source)
    began, stays, joined = (asyncio.create_task(cache.get("a")) for _ in range(3))
    await turns()
    began.cancel()
    joined.cancel()
    await turns()
    source.held.set()
    assert await stays == 1
    assert (began.cancelled(), joined.cancelled(), source.loads) == (True, True, 1)


async def test_closing_ends_every_load_also_one_that_was_dropped() -> None:
    source = Source()
    source.held.clear()
    cache = cache_of(source)
    callers = [asyncio.create_task(cache.get(key)) for key in ("a", "b")]
    await turns()
    await cache.drop("b")
    await cache.aclose()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 2
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({cache.name})


async def test_a_failed_load_reaches_its_callers_and_is_not_kept() -> None:
    failures = [ValueError("no")]

    async def load(key: str) -> int:
        if failures:
            raise failures.pop()
        return 1

    cache: Cache[str, int] = Cache("test", load, type=int, redis=None, ttl_s=60)
    answers = await asyncio.gather(cache.get("a"), cache.get("a"), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["no", "no"]
    assert await cache.get("a") == 1


async def test_none_is_answered_but_not_kept() -> None:
    source = Source(value=None)
    cache = cache_of(source)
    assert await cache.get("a") is None
    source.value = 2
    assert await cache.get("a") == 2


async def test_the_least_recently_used_entry_leaves_first() -> None:
    source = Source()
    cache = cache_of(source, size=2)
    await cache.get("a")
    await cache.get("b")
    assert cache.peek("a") == 1
    await cache.get("c")
    assert [cache.peek(key) for key in "abc"] == [1, None, 1]


async def test_an_entry_expires_within_its_time_to_live(clock: Clock) -> None:
    source = Source()
    cache = cache_of(source, ttl_s=60)
    await cache.get("a")
    clock.now += 60
    assert cache.peek("a") is None
    source.value = 2
    assert await cache.get("a") == 2


async def test_one_caller_refreshes_early_while_all_get_the_present_value(clock: Clock) -> None:
    source = Source()
    cache = cache_of(source, ttl_s=60)
    await cache.get("a")
    source.value = 2
    source.held.clear()
    while source.loads == 1:
        assert cache.peek("a") == 1
        clock.now += 1
        await turns()
    assert [cache.peek("a") for _ in range(9)] == [1] * 9
    await turns()
    assert source.loads == 2, "one refresh, however many ask"
    source.held.set()
    await turns(9)
    assert cache.peek("a") == 2


async def test_what_is_no_longer_fresh_is_loaded_again() -> None:
    source = Source()
    epoch = 1
    cache = cache_of(source, noted=lambda: epoch, fresh=lambda _, noted: noted >= epoch)
    await cache.get("a")
    source.value, epoch = 2, 2
    assert cache.peek("a") is None
    assert await cache.get("a") == 2


async def test_a_load_that_began_before_a_change_is_not_given_to_who_came_after_it() -> None:
    source = Source()
    epoch = 1
    cache = cache_of(source, noted=lambda: epoch, fresh=lambda _, noted: noted >= epoch)
    source.held.clear()
    before = asyncio.create_task(cache.get("a"))
    await turns()
    source.value, epoch = 2, 2
    after = [asyncio.create_task(cache.get("a")) for _ in range(3)]
    await turns()
    source.held.set()
    assert await before == 1
    assert await asyncio.gather(*after) == [2, 2, 2]
    assert source.loads == 2


async def test_drop_forgets_here_and_in_redis_and_disowns_the_load_under_way(redis: Redis) -> None:
    source = Source()
    cache = cache_of(source, redis=redis)
    await cache.get("a")
    source.value = 2
    await cache.drop("a")
    source.held.clear()
    before = asyncio.create_task(cache.get("a"))
    while source.loads < 2:
        await asyncio.sleep(0.001)
    source.value = 3
    await cache.drop("a")
    source.held.set()
    assert (await before, cache.peek("a")) == (2, None)
    assert await cache.get("a") == 3
    assert await cache_of(source, redis=redis, name=cache.name).get("a") == 3


async def test_another_worker_finds_it_in_redis_with_its_time_of_expiry(
    redis: Redis, clock: Clock
) -> None:
    source = Source()
    cache = cache_of(source, redis=redis, ttl_s=60)
    await cache.get("a")
    clock.now += 30
    neighbour = cache_of(source, redis=redis, ttl_s=60, name=cache.name)
    assert await neighbour.get("a") == 1
    assert source.loads == 1
    clock.now += 30
    assert neighbour.peek("a") is None, "Redis must not lengthen a life"


async def test_what_is_stale_or_unreadable_in_redis_is_harmless(redis: Redis) -> None:
    source = Source(value=7)
    cache = cache_of(source, redis=redis, noted=lambda: 5, fresh=lambda _, noted: noted >= 5)
    later = time.time() + 60
    for number, kept in enumerate(
        (
            msgspec.msgpack.encode((4, later, 1)),
            msgspec.msgpack.encode((5, time.time() - 1, 1)),
            msgspec.msgpack.encode((5, later, "of another shape")),
            b"\xff not even that",
        )
    ):
        await redis.set(f"{cache.name}:{number}", kept)
        assert await cache.get(str(number)) == 7
    await redis.set(f"{cache.name}:good", msgspec.msgpack.encode((5, later, 1)))
    assert await cache.get("good") == 1


async def test_redis_silent_or_gone_costs_a_load_and_nothing_else(tmp_path: Path) -> None:
    source = Source()
    server = valkey(tmp_path, free_port())
    with running(server) as process:
        async with Redis.from_url(server.url) as redis:
            cache = cache_of(source, redis=redis)
            assert await cache.get("well") == 1
            os.kill(process.pid, signal.SIGSTOP)
            assert [await cache.get(key) for key in ("well", "silent")] == [1, 1]
            process.kill()
            assert [await cache.get(key) for key in ("well", "silent", "gone")] == [1, 1, 1]
            assert source.loads == 3
            await cache.drop("gone")
            assert cache.peek("gone") is None
        process.restart()


@dataclass
class World:
    """A source that changes, and workers that are told of each change before it is acknowledged."""

    redis: Redis | None
    truth: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    acknowledged: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    number: int = 0
    told: list[int] = field(default_factory=lambda: [0, 0])

    def __post_init__(self) -> None:
        name = f"world{next(_names)}"
        self.workers = [self.worker(name, which) for which in range(2)]
        self.delays = iter(range(1_000_000))

    def worker(self, name: str, which: int) -> Cache[str, int]:
        async def load(key: str) -> int:
            await turns(next(self.delays) % 3)
            value = self.truth[key]
            await turns(next(self.delays) % 4)
            return value

        return Cache(
            name,
            load,
            type=int,
            redis=self.redis,
            ttl_s=60,
            noted=lambda: self.told[which],
            fresh=lambda _, noted: noted >= self.told[which],
        )

    async def change(self, key: str, delay: int) -> None:
        await turns(delay)
        self.truth[key] += 1
        self.number += 1
        value, number = self.truth[key], self.number
        for which in range(2):
            await turns(delay % 3)
            self.told[which] = max(self.told[which], number)
        self.acknowledged[key] = max(self.acknowledged[key], value)

    async def get(self, key: str, delay: int, which: int) -> None:
        await turns(delay)
        least = self.acknowledged[key]
        value = self.workers[which].peek(key)
        if value is None:
            value = await self.workers[which].get(key)
        assert value is not None
        assert value >= least, f"{value} is older than the acknowledged {least}"


keys, delays = st.sampled_from("ab"), st.integers(0, 25)
changes = st.lists(st.tuples(keys, delays), max_size=8)
gets = st.lists(st.tuples(keys, delays, st.integers(0, 1)), max_size=30)


async def interleave(
    changing: list[tuple[str, int]], getting: list[tuple[str, int, int]], redis: Redis | None
) -> None:
    world = World(redis)
    async with asyncio.TaskGroup() as group:
        for change in changing:
            group.create_task(world.change(*change))
        for get in getting:
            group.create_task(world.get(*get))


@given(changes, gets)
@settings(max_examples=300, deadline=None)
def test_no_answer_is_older_than_the_last_acknowledged_change(
    changing: list[tuple[str, int]], getting: list[tuple[str, int, int]]
) -> None:
    asyncio.run(interleave(changing, getting, None))


@given(changes, gets)
@settings(max_examples=40, deadline=None)
def test_no_answer_is_older_than_the_last_acknowledged_change_with_redis(
    valkey_url: str, changing: list[tuple[str, int]], getting: list[tuple[str, int, int]]
) -> None:
    async def scenario() -> None:
        async with Redis.from_url(valkey_url) as redis:
            await interleave(changing, getting, redis)

    asyncio.run(scenario())
