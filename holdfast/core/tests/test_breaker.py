from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.core.breaker import SLICES, Breaker, BreakerOpenError, Call, State, Window

WINDOW_S, LEAST, OPEN_AT, OPEN_FOR_S, PROBES = 10.0, 4, 0.5, 30.0, 2


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Watched:
    """A breaker and its clock."""

    least_calls: int = 20
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.breaker = Breaker(
            window_s=WINDOW_S,
            least_calls=self.least_calls,
            open_at=OPEN_AT,
            open_for_s=OPEN_FOR_S,
            probes=PROBES,
            clock=self.clock,
        )

    def state(self) -> State:
        return self.breaker.state

    def ask(self, *, good: bool) -> None:
        with self.breaker.call() as call:
            call.end(good=good)

    def open(self) -> "Watched":
        for _ in range(self.least_calls):
            self.ask(good=False)
        assert self.state() == "open"
        return self

    def half_open(self) -> "Watched":
        self.open().clock.now += OPEN_FOR_S
        return self


def test_exactly_half_of_the_calls_failing_opens_it_and_49_percent_do_not() -> None:
    watched = Watched(least_calls=100)
    for number in range(100):
        watched.ask(good=number < 51)
    assert watched.state() == "closed", "49 of 100"
    watched = Watched(least_calls=100)
    for number in range(100):
        assert watched.state() == "closed"
        watched.ask(good=number < 50)
    assert watched.state() == "open"


def test_a_storm_of_refusals_that_are_no_failures_never_opens_it() -> None:
    watched = Watched()
    for number in range(10_000):
        watched.ask(good=True)  # a 409 is an answer
        watched.clock.now += number % 3 * 0.01
    assert watched.state() == "closed"


def test_too_few_calls_prove_nothing() -> None:
    watched = Watched()
    for _ in range(19):
        watched.ask(good=False)
    assert watched.state() == "closed"
    watched.clock.now += WINDOW_S * (1 + 1 / SLICES)
    watched.ask(good=False)
    assert watched.state() == "closed", "the nineteen are forgotten"


def test_an_open_one_refuses_at_once_and_says_when_to_come_again() -> None:
    watched = Watched().open()
    watched.clock.now += 10.5
    with pytest.raises(BreakerOpenError) as refusal:
        watched.breaker.call()
    assert refusal.value.headers["Retry-After"] == "20"
    assert refusal.value.status == 503


def test_it_closes_when_all_probes_one_at_a_time_were_good() -> None:
    watched = Watched().half_open()
    for _ in range(PROBES):
        assert watched.state() == "half_open"
        probe = watched.breaker.call()
        with pytest.raises(BreakerOpenError):
            watched.breaker.call()
        probe.end(good=True)
    assert watched.state() == "closed"
    watched.ask(good=False)
    assert watched.state() == "closed", "what opened it is forgotten"


def test_a_bad_probe_opens_it_for_as_long_again() -> None:
    watched = Watched().half_open()
    watched.ask(good=True)
    watched.ask(good=False)
    watched.clock.now += OPEN_FOR_S - 0.1
    assert watched.state() == "open"
    watched.clock.now += 0.1
    assert watched.state() == "half_open"
    watched.ask(good=True)
    assert watched.state() == "half_open", "the good one before counts no more"


def test_a_probe_whose_caller_went_away_makes_room_for_the_next() -> None:
    watched = Watched().half_open()
    with suppress(ConnectionError), watched.breaker.call():
        raise ConnectionError
    assert watched.state() == "half_open", "it counts for nothing"
    watched.ask(good=True)
    watched.ask(good=True)
    assert watched.state() == "closed"


def test_a_probe_that_never_comes_back_is_not_waited_for() -> None:
    watched = Watched().half_open()
    lost = watched.breaker.call()
    watched.clock.now += OPEN_FOR_S
    second = watched.breaker.call()
    lost.end(good=False)
    assert watched.state() == "half_open", "nobody listens to it any more"
    second.end(good=True)
    watched.ask(good=True)
    assert watched.state() == "closed"


def test_a_call_from_before_it_opened_says_nothing_of_now() -> None:
    watched = Watched(least_calls=1)
    old = watched.breaker.call()
    watched.half_open()
    old.end(good=True)
    assert watched.state() == "half_open"
    older = Watched(least_calls=1)
    late = older.breaker.call()
    older.half_open()
    for _ in range(PROBES):
        older.ask(good=True)
    late.end(good=False)
    assert older.state() == "closed"


@given(st.lists(st.tuples(st.floats(0, 25), st.booleans()), max_size=60))
def test_a_window_has_what_came_in_its_last_slices(steps: list[tuple[float, bool]]) -> None:
    clock = Clock()
    window = Window(WINDOW_S, clock)
    seen: list[tuple[int, bool]] = []
    for wait_s, marked in steps:
        clock.now += wait_s
        seen.append((int(clock.now / (WINDOW_S / SLICES)), marked))
        recent = [mark for at, mark in seen if at > seen[-1][0] - SLICES]
        assert window.note(marked=marked) == (len(recent), sum(recent))
        assert window.counts == (len(recent), sum(recent))


class Life(RuleBasedStateMachine):
    """A breaker beside one that keeps everything and counts anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = Watched(least_calls=LEAST)
        self.seen: list[tuple[int, bool]] = []  # since it was closed: slice, failed
        self.opened_at: float | None = None
        self.good_probes = 0
        self.calls: list[Call] = []  # of this time between two changes
        self.old: list[Call] = []

    @property
    def slice(self) -> int:
        return int(self.watched.clock.now / (WINDOW_S / SLICES))

    @property
    def may_ask(self) -> bool:
        now = self.watched.clock.now
        return self.opened_at is None or (now >= self.opened_at + OPEN_FOR_S and not self.calls)

    @rule(seconds=st.sampled_from((0.0, 0.3, 1.0, 4.0, 29.0)))
    def wait(self, seconds: float) -> None:
        if self.opened_at is None or not self.calls:  # that a probe is given up is tested above
            self.watched.clock.now += seconds

    @rule()
    def ask(self) -> None:
        if self.may_ask:
            self.calls.append(self.watched.breaker.call())
        else:
            with pytest.raises(BreakerOpenError):
                self.watched.breaker.call()

    @precondition(lambda self: self.calls)
    @rule(good=st.booleans(), which=st.integers(0, 9))
    def answer(self, *, good: bool, which: int) -> None:
        self.calls.pop(which % len(self.calls)).end(good=good)
        if self.opened_at is None:
            self.seen.append((self.slice, not good))
            recent = [failed for at, failed in self.seen if at > self.slice - SLICES]
            if len(recent) >= LEAST and sum(recent) / len(recent) >= OPEN_AT:
                self.change(self.watched.clock.now)
        elif not good:
            self.change(self.watched.clock.now)
        else:
            self.good_probes += 1
            if self.good_probes == PROBES:
                self.change(None)

    def change(self, opened_at: float | None) -> None:
        self.opened_at, self.seen, self.good_probes = opened_at, [], 0
        self.old += self.calls
        self.calls = []

    @precondition(lambda self: self.calls)
    @rule()
    def go_away(self) -> None:
        with self.calls.pop():
            pass

    @precondition(lambda self: self.old)
    @rule(good=st.booleans())
    def answer_late(self, *, good: bool) -> None:
        self.old.pop().end(good=good)

    @invariant()
    def it_is_in_the_state_that_was_counted(self) -> None:
        if self.opened_at is None:
            expected = "closed"
        elif self.watched.clock.now < self.opened_at + OPEN_FOR_S:
            expected = "open"
        else:
            expected = "half_open"
        assert self.watched.state() == expected


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
