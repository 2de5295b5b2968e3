import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.core.errors import BusyError
from holdfast.core.shed import Shed

SHORTLY_S = 30


class Clock:
    """Goes on when it is told to, whatever this machine does meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr("holdfast.core.shed.monotonic", lambda: self.now_s)

    def go_on(self, by_s: float) -> None:
        self.now_s += by_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@contextmanager
def shed(*, threads: int = 1, deadline_s: float = 60) -> Iterator[Shed]:
    it = Shed(threads, deadline_s, "test")
    try:
        yield it
    finally:
        it.close()


async def until_running(it: Shed, count: int) -> None:
    async with asyncio.timeout(SHORTLY_S):
        while it.running != count:
            await asyncio.sleep(0.001)


async def test_answers_and_exceptions_reach_their_caller() -> None:
    with shed(threads=2) as it:
        assert await it.run(int, "ff", base=16) == 255
        with pytest.raises(ValueError, match="invalid literal"):
            await it.run(int, "what")


async def test_gauges_tell_what_waits_and_what_runs() -> None:
    gate = threading.Event()
    with shed(threads=2) as it:
        tasks = [asyncio.create_task(it.run(gate.wait, SHORTLY_S)) for _ in range(5)]
        await until_running(it, 2)
        assert (it.queued, it.running) == (3, 2)
        gate.set()
        await asyncio.gather(*tasks)
        assert (it.queued, it.running) == (0, 0)


async def test_a_wait_beyond_the_deadline_is_refused_early_with_the_time_to_come_back(
    clock: Clock,
) -> None:
    gate = threading.Event()
    with shed(deadline_s=1) as it:
        await it.run(clock.go_on, 0.3)  # from this it learns how long work takes
        first = asyncio.create_task(it.run(gate.wait, SHORTLY_S))
        await until_running(it, 1)
        tasks = [asyncio.create_task(it.run(gate.wait, SHORTLY_S)) for _ in range(20)]
        await asyncio.sleep(0)
        refused = [task.exception() for task in tasks if task.done()]
        assert (len(refused), it.queued) == (16, 4)
        assert it.expected_wait_s > 1
        gate.set()
        for error in refused:
            assert isinstance(error, BusyError)
            assert int(error.headers["Retry-After"]) > 1
        await asyncio.gather(first, *tasks, return_exceptions=True)


async def test_work_whose_deadline_passed_in_the_queue_is_not_begun(clock: Clock) -> None:
    gate = threading.Event()
    begun = threading.Event()
    with shed(deadline_s=0.5) as it:
        first = asyncio.create_task(it.run(gate.wait, SHORTLY_S))
        await until_running(it, 1)
        late = asyncio.create_task(it.run(begun.set))
        await asyncio.sleep(0)
        clock.go_on(0.6)
        gate.set()
        await first
        with pytest.raises(BusyError):
            await late
    assert not begun.is_set()


async def test_work_of_a_caller_who_left_is_not_begun() -> None:
    gate = threading.Event()
    begun = threading.Event()
    with shed() as it:
        first = asyncio.create_task(it.run(gate.wait, SHORTLY_S))
        await until_running(it, 1)
        leaver = asyncio.create_task(it.run(begun.set))
        await asyncio.sleep(0)
        assert it.queued == 1
        leaver.cancel()
        await asyncio.wait([leaver])
        assert it.queued == 0
        gate.set()
        await first
        await it.run(int)
    assert not begun.is_set()


async def test_close_finishes_what_has_begun_and_refuses_the_rest() -> None:
    gate = threading.Event()
    it = Shed(1, 60, "test")
    begun = asyncio.create_task(it.run(gate.wait, SHORTLY_S))
    await until_running(it, 1)
    waits = asyncio.create_task(it.run(int))
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(it.close))
    while not it._closed:
        await asyncio.sleep(0.001)
    assert not closing.done()
    gate.set()
    await closing
    assert await begun is True
    for refused in (waits, it.run(int)):
        with pytest.raises(BusyError):
            await refused


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
async def test_its_threads_stand_behind_the_loop() -> None:
    def own_priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = own_priority()
    with shed() as it:
        assert await it.run(own_priority) == min(before + 10, 19)
    assert own_priority() == before
