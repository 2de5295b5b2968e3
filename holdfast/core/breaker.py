"""A breaker: who fails as often as not is left alone for a while, then tried a few times.

It looks at the share of failures among the calls of the last seconds, so that neither one bad
moment of a busy service opens it nor a few calls of a quiet one. What a failure is, the caller
says: no answer, or one that the other side is to blame for. While it is open nobody waits for what
will not come, and whoever is down gets up without a crowd on its back. It does no I/O, makes no
retries, and belongs to one process: what others see of the same service is theirs.

    with breaker.call() as call:        # raises BreakerOpenError at once while it is open
        answer = await ask()
        call.end(good=answer.status < 500)

A call that is left without a word, because its own caller went away, counts for nothing; one that
is left by an exception has to be told: `call.end(good=False)`.
"""

import time
from collections.abc import Callable
from typing import Literal, Self

from holdfast.core.errors import BusyError

SLICES = 10  # of a window: what is old leaves in tenths

State = Literal["closed", "open", "half_open"]
STATES: tuple[State, ...] = ("closed", "open", "half_open")


class BreakerOpenError(BusyError):
    sentence = "This service does not work at the moment. Try again when `Retry-After` says."


class Window:
    """Of the last seconds: how many there were, and how many of them were marked."""

    def __init__(self, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._slice_s = window_s / SLICES
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        self._slices = [(0, 0)] * SLICES
        self._latest = int(self._clock() / self._slice_s)
        self._all = self._marked = 0

    @property
    def counts(self) -> tuple[int, int]:
        self._forget()
        return self._all, self._marked

    def note(self, every: int = 1, marked: int = 0) -> tuple[int, int]:
        """Add to the counts; answers what they are now."""
        self._forget()
        known, known_marked = self._slices[self._latest % SLICES]
        self._slices[self._latest % SLICES] = known + every, known_marked + marked
        self._all += every
        self._marked += marked
        return self._all, self._marked

    def _forget(self) -> None:
        """What has become older than the window."""
        now = int(self._clock() / self._slice_s)
        for number in range(max(self._latest, now - SLICES) + 1, now + 1):
            gone, gone_marked = self._slices[number % SLICES]
            self._slices[number % SLICES] = 0, 0
            self._all -= gone
            self._marked -= gone_marked
        self._latest = max(self._latest, now)


class Breaker:
    def __init__(
        self,
        *,
        window_s: float,
        least_calls: int,
        open_at: float,
        open_for_s: float,
        probes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._least_calls = least_calls
        self._open_at = open_at
        self._open_for_s = open_for_s
        self._probes = probes
        self._clock = clock
        self._window = Window(window_s, clock)
        self._opened_at: float | None = None
        self._good_probes = 0
        self._probe: Call | None = None  # the one that is under way
        self._probe_began = 0.0
        self._times_opened = 0

    @property
    def state(self) -> State:
        if self._opened_at is None:
            return "closed"
        return "open" if self._clock() < self._opened_at + self._open_for_s else "half_open"

    def call(self) -> "Call":
        """Leave to ask, or BreakerOpenError. Among half-open calls only one at a time is a probe."""
        if self._opened_at is None:
            return Call(self, self._times_opened)
        now = self._clock()
        wait_s = self._opened_at + self._open_for_s - now
        if wait_s > 0:
            raise BreakerOpenError(retry_after_s=wait_s)
        if self._probe is not None and now < self._probe_began + self._open_for_s:
            raise BreakerOpenError  # a probe that is out for longer is not waited for
        self._probe, self._probe_began = Call(self, self._times_opened), now
        return self._probe

    def _ended(self, call: "Call", *, good: bool) -> None:
        if call is self._probe:
            self._probe = None
            self._judge_probe(good=good)
        elif call.since == self._times_opened and self._opened_at is None:
            calls, failures = self._window.note(marked=not good)
            if calls >= self._least_calls and failures / calls >= self._open_at:
                self._open()

    def _judge_probe(self, *, good: bool) -> None:
        self._good_probes += good
        if not good:
            self._open()
        elif self._good_probes >= self._probes:
            self._opened_at = None
            self._window.clear()

    def _left(self, call: "Call") -> None:
        if call is self._probe:
            self._probe = None

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._times_opened += 1
        self._good_probes = 0
        self._probe = None


class Call:
    """One call that was let through. What it says after its breaker has opened is not heard."""

    __slots__ = ("_breaker", "_ended", "since")

    def __init__(self, breaker: Breaker, since: int) -> None:
        self._breaker = breaker
        self._ended = False
        self.since = since

    def end(self, *, good: bool) -> None:
        if not self._ended:
            self._ended = True
            self._breaker._ended(self, good=good)  # noqa: SLF001 - its own call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended:
            self._ended = True
            self._breaker._left(self)  # noqa: SLF001 - its own call
