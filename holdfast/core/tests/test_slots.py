import subprocess
import sys
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.epochs.slots import SIZE, Slots

SUBJECTS = st.sampled_from(["user:1", "user:2", "session:1", "role:admin", ""])
EVENTS = st.lists(st.sets(SUBJECTS) | st.none(), max_size=12)  # None: a stretch was missed


def noted(events: Iterable[set[str] | None]) -> Slots:
    slots = Slots()
    for event in events:
        if event is None:
            slots.forget(slots.noted + 3)
        else:
            slots.note(slots.noted + 1, event)
    return slots


@given(EVENTS, EVENTS, st.sets(SUBJECTS, min_size=1))
def test_a_decision_holds_until_a_subject_of_it_changes_or_something_is_missed(
    before: list[set[str] | None], after: list[set[str] | None], rests_on: set[str]
) -> None:
    since = noted(before).noted
    slots = noted([*before, *after])
    holds = all(event is not None and not event & rests_on for event in after)
    assert slots.unchanged(Slots.of(*rests_on), since) == holds


@given(EVENTS, st.sets(SUBJECTS), st.integers(1, 10))
def test_what_a_worker_ahead_has_noted_is_not_believed(
    events: list[set[str] | None], rests_on: set[str], ahead: int
) -> None:
    slots = noted(events)
    assert not slots.unchanged(Slots.of(*rests_on), slots.noted + ahead)


@given(st.text(), st.text())
def test_two_subjects_in_one_slot_cost_a_reload_and_never_a_wrong_answer(
    one: str, other: str
) -> None:
    slots = noted([{one}])
    assert not slots.unchanged(Slots.of(one), 0)
    shared = Slots.of(one) == Slots.of(other)
    assert slots.unchanged(Slots.of(other), 0) != shared


@given(st.text())
def test_a_subject_has_one_slot_within_the_array(subject: str) -> None:
    (slot,) = Slots.of(subject)
    assert 0 <= slot < SIZE


def test_a_subject_has_the_same_slot_in_every_process() -> None:
    program = "from holdfast.core.epochs.slots import Slots; print(*Slots.of('a', 'b'))"
    told = subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert tuple(map(int, told.split())) == Slots.of("a", "b")
