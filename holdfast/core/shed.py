"""A bounded pool of threads for CPU-bound work, with a deadline, so that overload is refused early.

Password hashing takes tens of milliseconds of CPU whichever thread runs it: beyond what the cores
can do, a longer queue only makes everyone wait for answers that come too late. So work is refused
at once when its expected wait exceeds the deadline, and is not begun when the deadline passed in
the queue or its caller left. The threads lower their own priority: the event loop's thread goes
first, and light requests stay quick beside them. The function must release the GIL (argon2,
bcrypt, zlib do); for pure Python work this is the wrong tool.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import ParamSpec, TypeVar

from holdfast.core.errors import BusyError

Params = ParamSpec("Params")
Result = TypeVar("Result")

NICER_BY = 10
WEIGHT_OF_LATEST = 0.2


class Shed:
    def __init__(self, threads: int, deadline_s: float, name: str) -> None:
        self.name = name
        self._threads = threads
        self._deadline_s = deadline_s
        self._service_s = 0.0
        # Sets, because adding and discarding one element is atomic and may be repeated.
        self._queued: set[object] = set()
        self._running: set[object] = set()
        self._closed = False
        self._pool = ThreadPoolExecutor(threads, name, initializer=_yield_to_the_loop)

    @property
    def queued(self) -> int:
        return len(self._queued)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def expected_wait_s(self) -> float:
        return len(self._queued) * self._service_s / self._threads

    async def run(
        self, work: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs
    ) -> Result:
        wait_s = self.expected_wait_s
        if self._closed or wait_s > self._deadline_s:
            raise BusyError(retry_after_s=wait_s)
        job = object()
        begin_by = monotonic() + self._deadline_s

        def begin() -> Result:
            self._queued.discard(job)
            started = monotonic()
            if self._closed or started > begin_by:
                raise BusyError(retry_after_s=self.expected_wait_s)
            self._running.add(job)
            try:
                return work(*args, **kwargs)
            finally:
                self._running.discard(job)
                self._learn(monotonic() - started)

        self._queued.add(job)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, begin)
        finally:
            self._queued.discard(job)

    def _learn(self, took_s: float) -> None:
        known_s = self._service_s or took_s
        self._service_s = known_s + WEIGHT_OF_LATEST * (took_s - known_s)

    def close(self) -> None:
        """Finishes what has begun, refuses what waits and what comes."""
        self._closed = True
        self._pool.shutdown()


def _yield_to_the_loop() -> None:
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY)
