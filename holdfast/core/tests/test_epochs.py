"""Leases and changes on a real PostgreSQL; each lease here is what one worker would hold."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from holdfast.core.db import Address, Database
from holdfast.core.epochs import Change, EpochsAwayError, Lease, Slots, change, queries
from holdfast.core.epochs.lease import clock as real_clock

LEASE_S = 3.0  # a worker that stands still for two seconds has not lost it
LONG_S = 20.0  # never waited for: a test that needs it to run out fails by its time-out
USER = Slots.of("user:1")
OTHER = Slots.of("user:2")

Worker = Callable[..., AbstractAsyncContextManager[Lease]]


@asynccontextmanager
async def worker(address: Address, lease_s: float = LEASE_S) -> AsyncIterator[Lease]:
    async with (
        Database.open(address, least=1, most=4) as db,
        Lease.hold(db, lease_s=lease_s) as lease,
    ):
        yield lease


class Clock:
    """The time that leases are counted in; it can be set forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        monkeypatch.setattr("holdfast.core.epochs.lease.clock", self)

    def __call__(self) -> float:
        return real_clock() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def touch(lease: Lease, *subjects: str) -> None:
    async with change(lease) as under_way:
        under_way.touches(*subjects)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def workers_known(owner: asyncpg.Connection) -> int:
    return int(await owner.fetchval("SELECT count(*) FROM epoch_workers"))


async def last_beat(owner: asyncpg.Connection) -> int:
    return int(await owner.fetchval("SELECT max(beat) FROM epoch_workers"))


@asynccontextmanager
async def cut_off(address: Address) -> AsyncIterator[None]:
    """The database ends every session, and takes no new ones."""
    *_, name = address.url.split("/")
    elsewhere = await asyncpg.connect(address.url.removesuffix(name) + "postgres")
    try:
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await elsewhere.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        yield
    finally:
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await elsewhere.close()


async def test_a_decision_is_trusted_on_every_worker_until_its_subject_changes(
    address: Address,
) -> None:
    async with worker(address, LONG_S) as one, worker(address, LONG_S) as other:
        since = other.slots.noted
        assert other.trusts(USER, since)
        await touch(one, "user:1")
        for lease in (one, other):
            assert not lease.trusts(USER, since)
            assert lease.trusts(OTHER, since)
            assert lease.trusts(USER, lease.slots.noted)


async def test_a_change_is_over_when_every_worker_has_acknowledged_it(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address, LONG_S) as one, worker(address, LONG_S):
        await touch(one, "user:1")
        behind = "SELECT count(*) FROM epoch_workers WHERE acknowledged < 1"
        assert await workers_known(owner) == 2
        assert await owner.fetchval(behind) == 0


async def test_a_change_waits_for_a_worker_that_has_not_acknowledged_it(
    address: Address, owner: asyncpg.Connection
) -> None:
    silent = uuid4()
    async with worker(address, LONG_S) as lease:
        await owner.execute(
            "INSERT INTO epoch_workers (worker, acknowledged, lease_s) VALUES ($1, 0, $2)",
            *(silent, LONG_S),
        )
        changing = asyncio.create_task(touch(lease, "user:1"))
        done, _ = await asyncio.wait([changing], timeout=0.2)
        assert not done
        await owner.execute("UPDATE epoch_workers SET acknowledged = 1 WHERE worker = $1", silent)
        await changing


async def test_a_watcher_forgets_before_the_change_is_over(address: Address) -> None:
    async with worker(address, LONG_S) as one, worker(address, LONG_S) as other:
        forgotten: list[str] = []
        other.watch("keys", lambda: forgotten.append("keys"))
        other.watch("else", lambda: forgotten.append("else"))
        await touch(one, "keys", "user:1")
        assert forgotten == ["keys"]


async def test_a_change_that_touches_nothing_takes_no_number_and_waits_for_nobody(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address, LONG_S) as lease:
        await owner.execute(
            "INSERT INTO epoch_workers (worker, acknowledged, lease_s) VALUES ($1, -1, $2)",
            *(uuid4(), LONG_S),
        )
        async with change(lease) as under_way:
            await under_way.db.execute("INSERT INTO permissions VALUES ('a:b', '')")
        assert await owner.fetchval("SELECT number FROM epoch_head") == 0
        assert await owner.fetchval("SELECT 1 FROM permissions WHERE name = 'a:b'")


async def test_a_change_that_fails_takes_no_number(
    address: Address, owner: asyncpg.Connection
) -> None:
    async def fail(under_way: Change) -> None:
        under_way.touches("user:1")
        await under_way.db.execute("SELECT 1/0")

    async with worker(address, LONG_S) as lease:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with change(lease) as under_way:
                await fail(under_way)
        assert await owner.fetchval("SELECT number FROM epoch_head") == 0
        await touch(lease, "user:1")
        assert await owner.fetchval("SELECT number FROM epoch_head") == 1


@pytest.mark.usefixtures("patient")
async def test_concurrent_changes_are_numbered_without_a_gap_in_order_of_commit(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address, LONG_S) as one, worker(address, LONG_S) as other:
        seen: list[int] = []
        other.watch("user:1", lambda: seen.append(other.slots.noted))
        await asyncio.gather(*(touch(lease, "user:1") for _ in range(15) for lease in (one, other)))
        assert seen == sorted(seen)
        assert {lease.slots.noted for lease in (one, other)} == {30}
        numbers = await owner.fetch("SELECT number FROM epoch_changes ORDER BY number")
        assert [row["number"] for row in numbers] == list(range(1, 31))


async def test_a_worker_that_ends_is_waited_for_no_longer(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address, LONG_S) as one:
        async with worker(address, LONG_S) as other:
            assert await workers_known(owner) == 2
        assert not other.held
        assert await workers_known(owner) == 1
        await touch(one, "user:1")


async def test_a_worker_that_died_delays_one_change_by_its_lease_and_is_forgotten(
    address: Address, owner: asyncpg.Connection
) -> None:
    short_s = 0.3
    async with worker(address, LONG_S) as lease:
        await owner.execute(
            "INSERT INTO epoch_workers (worker, acknowledged, lease_s) VALUES ($1, 0, $2)",
            *(uuid4(), short_s),
        )
        began = real_clock()
        await touch(lease, "user:1")
        assert real_clock() - began >= short_s
        assert await workers_known(owner) == 1


async def test_a_worker_that_was_cut_off_lapses_trusts_nothing_and_recovers(
    address: Address, clock: Clock
) -> None:
    async with worker(address) as lease:
        since = lease.slots.noted
        async with cut_off(address):
            assert lease.trusts(USER, since)
            clock.ahead_s += LEASE_S
            assert not lease.held
            assert not lease.trusts(USER, since)
            with pytest.raises(EpochsAwayError):
                await lease.confirm()
        await lease.confirm()
        assert lease.trusts(USER, since)
        await touch(lease, "user:1")
        assert not lease.trusts(USER, since)


async def test_a_worker_that_lost_its_connection_only_beats_on_another(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address) as one, worker(address) as other:
        since = other.slots.noted
        ended = await owner.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query ~ 'epoch_(workers|changes)'"
        )
        assert len(ended) == 2, "those that beat, and not those of the pools"
        await touch(one, "user:1")
        await one.confirm()
        await other.confirm()
        assert not other.trusts(USER, since)


async def test_a_stretch_of_changes_that_is_lost_makes_a_worker_forget_everything(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address) as lease:
        since = lease.slots.noted
        forgotten: list[str] = []
        lease.watch("keys", lambda: forgotten.append("keys"))
        await owner.execute("UPDATE epoch_head SET number = number + 5")
        await until(lambda: lease.slots.noted == 5)
        await lease.confirm()
        assert not lease.trusts(USER, since)
        assert forgotten == ["keys"]
        assert lease.trusts(USER, lease.slots.noted)


async def test_a_worker_never_trusts_a_database_that_was_put_back(
    address: Address, owner: asyncpg.Connection, clock: Clock
) -> None:
    async with worker(address) as lease:
        await touch(lease, "user:1")
        await touch(lease, "user:2")
        since = lease.slots.noted
        await owner.execute("DELETE FROM epoch_changes WHERE number = 2")
        await owner.execute("UPDATE epoch_head SET number = 1")
        clock.ahead_s += LEASE_S
        assert not lease.held
        with pytest.raises(EpochsAwayError):
            await lease.confirm()
        assert not lease.trusts(USER, since)


async def test_a_worker_that_beats_is_not_forgotten_by_what_was_seen_before(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address) as lease:
        for somebody_else_forgets_it in (False, True):
            (seen,) = await queries.select_epoch_workers_behind(lease.db, 1)
            if somebody_else_forgets_it:
                await owner.execute("DELETE FROM epoch_workers")
            lease.wake()
            while seen in await queries.select_epoch_workers_behind(lease.db, 1):
                await asyncio.sleep(0.005)
            while not await workers_known(owner):
                await asyncio.sleep(0.005)
            await queries.delete_epoch_worker(lease.db, worker=seen.worker, beat=seen.beat)
            assert await workers_known(owner) == 1


async def test_a_worker_that_beats_but_cannot_read_trusts_nothing(
    address: Address, owner: asyncpg.Connection, clock: Clock
) -> None:
    async with worker(address) as lease:
        async with owner.transaction():
            await owner.execute("LOCK TABLE epoch_changes")
            clock.ahead_s += LEASE_S
            for _ in range(2):
                seen = await last_beat(owner)
                lease.wake()
                while await last_beat(owner) == seen:
                    assert not lease.held
                    await asyncio.sleep(0.005)
            assert not lease.held
        await lease.confirm()


async def test_a_lease_counts_from_before_its_beat(
    address: Address, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat that took longer than a lease is worth nothing: only the next one is."""
    async with worker(address, LONG_S) as lease:
        read = queries.select_epoch_changes

        async def read_late(*asked: Any) -> list[queries.EpochChange]:
            clock.ahead_s += LONG_S
            return await read(*asked)

        with monkeypatch.context() as slow:
            slow.setattr(queries, "select_epoch_changes", read_late)
            lease.wake()
            await lease._beaten.wait()
            assert not lease.held
        await lease.confirm()
        assert lease.held


async def test_a_new_worker_begins_with_what_is_true_now(address: Address) -> None:
    async with worker(address, LONG_S) as one:
        await touch(one, "user:1")
        async with worker(address, LONG_S) as late:
            assert late.held
            assert not late.trusts(USER, 0)
            assert late.trusts(USER, 1)


async def test_a_worker_ends_when_it_is_told_to_even_while_it_is_woken(address: Address) -> None:
    async with asyncio.timeout(100):
        for _ in range(20):
            async with worker(address, LONG_S) as lease:
                await asyncio.sleep(0)
                lease.wake()


def decide_when_asked(address: Address, pipe: Connection) -> None:
    """A worker in a process of its own: says at once whether it trusts what it decided at first."""

    async def decide() -> None:
        async with worker(address) as lease:
            since = lease.slots.noted
            loop = asyncio.get_running_loop()
            asked = asyncio.Event()
            loop.add_reader(pipe.fileno(), asked.set)
            pipe.send(lease.trusts(USER, since))
            while True:
                await asked.wait()
                if not pipe.recv():
                    break
                asked.clear()
                pipe.send(lease.trusts(USER, since))
            loop.remove_reader(pipe.fileno())

    asyncio.run(decide())


@contextmanager
def another_process(address: Address) -> Iterator[tuple[int, Connection]]:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=decide_when_asked, args=(address, theirs))
    process.start()
    try:
        yield process.pid or 0, ours
    finally:
        process.kill()
        process.join()


async def test_a_worker_that_was_stopped_delays_a_change_and_decides_nothing_when_it_wakes(
    address: Address, owner: asyncpg.Connection
) -> None:
    async with worker(address, LONG_S) as lease:
        with another_process(address) as (pid, pipe):
            assert await asyncio.to_thread(pipe.recv) is True
            os.kill(pid, signal.SIGSTOP)
            await touch(lease, "user:1")
            assert await workers_known(owner) == 1
            pipe.send(True)
            os.kill(pid, signal.SIGCONT)
            assert await asyncio.to_thread(pipe.recv) is False
            while await workers_known(owner) == 1:
                await asyncio.sleep(0.01)
