import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import combinations, count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as SilentError

from holdfast.cli.servers import free_port, running, valkey
from holdfast.core.limits import (
    AGREE_EVERY_S,
    Limit,
    Limits,
    Spend,
    TooManyRequestsError,
    bucket_address,
    client_address,
)

SHORTLY_S, LONG_MS = 30, 60_000
_numbers = count()

Admit = Callable[[Spend], Awaitable[bool]]


def spend(text: str, who: str = "") -> Spend:
    """On a bucket that no other test uses."""
    return Spend(Limit.parse("test", text), who or f"somebody{next(_numbers)}")


async def admitted(limits: Limits, *spends: Spend) -> bool:
    with suppress(TooManyRequestsError):
        await limits.admit(*spends)
        return True
    return False


async def refusal(limits: Limits, *spends: Spend) -> TooManyRequestsError:
    """However many that takes: on a slow machine some come back meanwhile."""
    while True:
        try:
            await limits.admit(*spends)
        except TooManyRequestsError as error:
            return error


def admitted_here(limits: Limits, *spends: Spend) -> bool:
    with suppress(TooManyRequestsError):
        limits.admit_here(*spends)
        return True
    return False


class Agreeing(Limits):
    """A worker that counts how often it has asked Redis by and by, and how often it was answered."""

    asked = answered = 0

    async def _agree(self) -> None:
        self.asked += 1
        await super()._agree()
        self.answered += 1


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(SHORTLY_S):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def silent(redis: Redis) -> AsyncIterator[None]:
    """Redis answers no script, however long that takes."""
    await redis.client_pause(LONG_MS, all=False)
    try:
        yield
    finally:
        await redis.client_unpause()


async def until_it_answers(redis: Redis) -> None:
    async with asyncio.timeout(SHORTLY_S):
        while True:
            with suppress(SilentError):
                await redis.ping()
                return


@asynccontextmanager
async def agreeing(*all_limits: Limits) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(limits.agree_for_ever()) for limits in all_limits]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.parametrize("text", ["0/min ip", "10/day ip", "10/min", "ten/s ip", "10/s you", ""])
def test_a_limit_that_cannot_be_read_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(ValueError, match="login = "):
        Limit.parse("login", text)


@pytest.mark.parametrize("number", [1, 3, 7, 100])
async def test_as_many_as_the_limit_says_come_in_at_once_and_no_more(
    redis: Redis, number: int
) -> None:
    limits, one = Limits(redis), spend(f"{number}/h ip")
    assert [await admitted(limits, one) for _ in range(number + 2)] == [True] * number + [False] * 2


async def test_the_first_is_let_in_at_every_moment_of_the_clock(redis: Redis) -> None:
    limits = Limits(redis)
    assert all(admitted_here(limits, spend("1/h ip")) for _ in range(1000))


async def test_workers_who_admit_at_the_same_time_never_exceed_the_limit(redis: Redis) -> None:
    workers, one = [Limits(redis) for _ in range(3)], spend("50/h ip")
    outcomes = await asyncio.gather(
        *(admitted(worker, one) for _ in range(40) for worker in workers)
    )
    assert sum(outcomes) == 50


async def test_a_request_with_several_limits_is_charged_for_all_or_for_none(redis: Redis) -> None:
    limits = Limits(redis)
    narrow, wide = spend("1/h ip"), spend("3/h all")
    assert await admitted(limits, narrow, wide)
    assert [await admitted(limits, narrow, wide) for _ in range(5)] == [False] * 5
    assert [await admitted(limits, wide) for _ in range(3)] == [True, True, False]
    assert [admitted_here(limits, narrow, wide) for _ in range(5)] == [True] + [False] * 4
    assert [admitted_here(limits, wide) for _ in range(3)] == [True, True, False]


async def test_each_bucket_is_counted_alone(redis: Redis) -> None:
    limits, limit = Limits(redis), Limit.parse("test", "1/h user")
    other = Limit.parse("other", "1/h user")
    for one in (Spend(limit, "ada"), Spend(limit, "bob"), Spend(other, "ada")):
        assert [await admitted(limits, one) for _ in range(2)] == [True, False]


async def test_a_refused_client_is_told_when_to_come_and_is_let_in_then(redis: Redis) -> None:
    limits, one, other = Limits(redis), spend("5/s ip"), spend("1000/h all")
    headers = (await refusal(limits, other, one)).headers
    assert (headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == ("5", "0")
    assert int(headers["RateLimit-Reset"]) <= 1
    await asyncio.sleep(int(headers["Retry-After"]))
    assert [await admitted(limits, one) for _ in range(4)] == [True] * 4


async def test_the_wait_that_is_told_is_that_of_the_fullest_bucket(redis: Redis) -> None:
    limits, minute, hour = Limits(redis), spend("1/min ip"), spend("1/h user")
    assert await admitted(limits, minute, hour)
    for ask in (limits.admit(minute, hour), limits.admit(hour, minute)):
        with pytest.raises(TooManyRequestsError) as caught:
            await ask
        assert 3590 <= int(caught.value.headers["Retry-After"]) <= 3600
    with pytest.raises(TooManyRequestsError) as caught:
        await limits.admit(minute)
    assert 50 <= int(caught.value.headers["Retry-After"]) <= 60


async def test_workers_who_count_alone_agree_the_next_time_that_they_ask(redis: Redis) -> None:
    workers, one = [Agreeing(redis) for _ in range(2)], spend("10/h ip")
    async with agreeing(*workers):
        assert [admitted_here(workers[0], one) for _ in range(9)] == [True] * 9
        await until(lambda: workers[0].answered == 1)
        assert admitted_here(workers[1], one)  # it has not asked about this one before
        await until(lambda: workers[1].answered == 1)
        assert [admitted_here(worker, one) for worker in workers] == [True, False]
        assert not await admitted(Limits(redis), one)


async def test_what_is_let_in_while_workers_agree_is_not_forgotten(redis: Redis) -> None:
    limits, one = Agreeing(redis), spend("10/h ip")
    async with agreeing(limits):
        async with silent(redis):
            assert all(admitted_here(limits, one) for _ in range(5))
            await until(lambda: limits.asked)
            assert all(admitted_here(limits, one) for _ in range(5))
            assert not limits.answered
        await until(lambda: limits.answered)
        assert not admitted_here(limits, one)


async def test_what_a_worker_lets_in_alone_counts_for_those_who_ask_redis(redis: Redis) -> None:
    worker, one = Agreeing(redis), spend("10/h ip")
    async with agreeing(worker):
        assert all(admitted_here(worker, one) for _ in range(10))
        await until(lambda: worker.answered)
    assert not await admitted(Limits(redis), one)


async def test_without_redis_each_worker_counts_alone_and_with_it_together_again(
    tmp_path: Path,
) -> None:
    with running(valkey(tmp_path, free_port())) as server:
        async with Redis.from_url(server.server.url, retry=None) as redis:
            workers, one = [Limits(redis) for _ in range(2)], spend("3/h ip")
            assert await admitted(workers[0], one)
            server.kill()
            for worker in workers:
                assert [await admitted(worker, one) for _ in range(5)] == [True] * 3 + [False] * 2
            server.restart()
            together = [Limits(redis) for _ in range(2)]
            another = spend("3/h ip")
            outcomes = [await admitted(worker, another) for _ in range(3) for worker in together]
            assert sum(outcomes) == 3


async def test_redis_that_is_away_is_not_asked_for_every_request() -> None:
    asked = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Redis.from_url(f"redis://127.0.0.1:{port}", retry=None) as redis:
            limits, one = Limits(redis), spend("1000/h ip")
            await limits.admit(one)
            at_first = asked
            for _ in range(100):
                await limits.admit(one)
    assert 1 <= at_first <= asked < at_first + 50


async def test_a_time_out_of_redis_costs_the_worker_no_connection(
    redis: Redis, redis_url: str
) -> None:
    async with Redis.from_url(
        redis_url, max_connections=1, socket_timeout=0.05, retry=None
    ) as narrow:
        for _ in range(2):
            await until_it_answers(narrow)
            async with silent(redis):
                await Limits(narrow).admit(spend("1/h ip"))
        await until_it_answers(narrow)


async def test_a_worker_stops_agreeing_when_it_is_told_to_at_any_moment(redis: Redis) -> None:
    workers, one = [Limits(redis) for _ in range(20)], spend("1000/h ip")
    tasks = [asyncio.create_task(worker.agree_for_ever()) for worker in workers]
    for worker in workers:
        worker.admit_here(one)
    await asyncio.sleep(AGREE_EVERY_S)
    for turns, task in enumerate(tasks):
        for _ in range(turns % 5):
            await asyncio.sleep(0)
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=SHORTLY_S)
    assert len(done) == len(tasks)


def never_exceeds(limit: Limit, moments: list[tuple[float, float]]) -> bool:
    """In every window no more than the burst and what has come back meanwhile.

    Each was admitted at an unknown time between the two of its moment, so a window from one to
    another lasts no longer than from the begin of the first to the end of the last.
    """
    interval_s = limit.interval_us / 1e6
    return all(
        j - i + 1 <= limit.count + (moments[j][1] - moments[i][0]) / interval_s
        for i, j in combinations(range(len(moments)), 2)
    )


PAUSES_MS = st.lists(st.sampled_from([0, 0, 0, 1, 5, 20]), min_size=5, max_size=60)


async def moments_admitted(
    admit: Admit, one: Spend, pauses_ms: list[int]
) -> list[tuple[float, float]]:
    moments = []
    for pause_ms in pauses_ms:
        await asyncio.sleep(pause_ms / 1000)
        begin = time.time()
        if await admit(one):
            moments.append((begin, time.time()))
    return moments


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(1, 40), pauses_ms=PAUSES_MS)
def test_no_window_has_more_than_burst_and_refill(
    redis_url: str, number: int, pauses_ms: list[int]
) -> None:
    async def check() -> None:
        async with Redis.from_url(redis_url) as redis:
            limits, one = Limits(redis), spend(f"{number}/s ip")

            async def admit_here(one: Spend) -> bool:
                return admitted_here(limits, one)

            async def admit(one: Spend) -> bool:
                return await admitted(limits, one)

            for ask in (admit, admit_here):
                moments = await moments_admitted(ask, one, pauses_ms)
                assert never_exceeds(one.limit, moments)
                assert len(moments) >= min(number, len(pauses_ms))

    asyncio.run(check())


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_its_own_bucket_however_it_is_written(address: IPv4Address) -> None:
    assert bucket_address(str(address)) == str(address)
    assert bucket_address(f"::ffff:{address}") == str(address)


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_subscriber_is_one_bucket(address: IPv6Address, host: int) -> None:
    if address.ipv4_mapped:
        return
    neighbour = IPv6Address(int(address) >> 64 << 64 | host)
    assert bucket_address(str(neighbour)) == bucket_address(str(address))
    elsewhere = IPv6Address(int(address) ^ 1 << 64)
    assert bucket_address(str(elsewhere)) != bucket_address(str(address))


PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.5", "10.0.0.2"], "203.0.113.5"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.5, rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5, "], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
    ],
)
def test_the_client_is_whoever_our_nearest_proxy_has_seen(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert client_address(peer, forwarded, PROXIES) == client


HEADERS = st.lists(st.text() | st.ip_addresses().map(str), max_size=4)


@given(HEADERS)
def test_what_a_stranger_forwards_changes_nothing(forwarded: list[str]) -> None:
    assert client_address("203.0.113.5", forwarded, PROXIES) == "203.0.113.5"
    assert client_address("10.0.0.1", forwarded, []) == "10.0.0.1"


@given(HEADERS)
def test_what_a_client_puts_before_our_proxys_word_changes_nothing(forwarded: list[str]) -> None:
    assert client_address("10.0.0.1", [*forwarded, "203.0.113.5"], PROXIES) == "203.0.113.5"
