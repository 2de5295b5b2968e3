"""An alarm that wakes an event loop to within some microseconds.

Loops sleep in whole milliseconds, which is too coarse to say when a request should have been
sent, and a loop that spins instead takes a core away from what is measured. Linux' timerfd does
neither. It rings once for each time that it is set.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from time import perf_counter

CLOCK_MONOTONIC = 1
NOT_BLOCKING = os.O_NONBLOCK | os.O_CLOEXEC
SOONEST_S = 1e-6
_libc = ctypes.CDLL(None, use_errno=True)


class _Setting(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_long) for name in ("every_s", "every_ns", "after_s", "after_ns")
    )


class Alarm:
    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._setting = _Setting(0, 0, 0, 0)
        self._fd = int(_libc.timerfd_create(CLOCK_MONOTONIC, NOT_BLOCKING))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._rung)

    def set(self, at: float) -> None:
        """Ring when `perf_counter` says `at`, or at once."""
        after_s = max(at - perf_counter(), SOONEST_S)
        self._setting.after_s = int(after_s)
        self._setting.after_ns = int(after_s % 1 * 1e9)
        _libc.timerfd_settime(self._fd, 0, ctypes.byref(self._setting), None)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _rung(self) -> None:
        os.read(self._fd, 8)
        self._ring()
