"""Whose turn it is, by the clock alone; and who was never admitted."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.orders.room.rules import (
    PATIENCE,
    admission_key,
    has_admission,
    pause_s,
    sale_of,
    state_of,
    write_admission,
)
from holdfast.apps.orders.room.schemas import Guest, Sale, State

OPENING = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
S = timedelta(seconds=1)
KEY = admission_key("a secret that only the tests know, and long enough")


@pytest.mark.parametrize(
    ("now", "remaining", "sale"),
    [
        (OPENING - S, 1, "early"),
        (OPENING - S, 0, "early"),
        (OPENING, 1, "open"),
        (OPENING, 0, "sold_out"),
        (OPENING + 59 * S, 1, "open"),
        (OPENING + 60 * S, 1, "over"),
        (OPENING + 60 * S, 0, "over"),
    ],
)
def test_a_sale_by_its_window_and_its_stock(now: datetime, remaining: int, sale: Sale) -> None:
    closing = OPENING + 60 * S
    assert sale_of(now, opens_at=OPENING, closes_at=closing, remaining=remaining) == sale


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (OPENING + 9 * S, "waiting"),
        (OPENING + 10 * S, "admitted"),
        (OPENING + 10 * S + PATIENCE - S, "admitted"),
        (OPENING + 10 * S + PATIENCE, "missed"),
    ],
)
def test_a_turn_by_the_clock(now: datetime, state: State) -> None:
    turn_at = OPENING + 10 * S
    assert state_of(now, "open", has_room=True, turn_at=turn_at, used=False) == state
    assert state_of(now, "open", has_room=True, turn_at=turn_at, used=True) == "used"


def test_before_the_opening_everybody_gathers_and_without_a_room_everybody_is_admitted() -> None:
    for has_room in (True, False):
        assert state_of(OPENING, "early", has_room=has_room, turn_at=None, used=False) == (
            "gathering"
        )
    assert state_of(OPENING, "open", has_room=True, turn_at=None, used=False) == "gathering"
    for turn_at in (None, OPENING + S, OPENING - 2 * PATIENCE):
        assert state_of(OPENING, "open", has_room=False, turn_at=turn_at, used=False) == "admitted"


@given(st.floats(-10, 100_000) | st.none())
def test_a_watcher_hears_something_in_time_and_never_late_of_its_turn(left_s: float | None) -> None:
    pause = pause_s(OPENING, OPENING + left_s * S if left_s is not None else None)
    assert 0 < pause <= 3
    if left_s is not None and left_s > 1e-6:
        assert pause <= left_s + 1e-6


def test_an_admission_is_of_one_customer_for_one_offer() -> None:
    ada = Guest(uuid4(), uuid4())
    genuine = write_admission(KEY, ada)
    assert len(genuine) == 22
    assert has_admission(KEY, ada, [b"", b"another's", genuine])
    assert not has_admission(KEY, ada._replace(customer_id=uuid4()), [genuine])
    assert not has_admission(KEY, ada._replace(offer_id=uuid4()), [genuine])
    assert not has_admission(KEY, Guest(ada.customer_id, ada.offer_id), [genuine])
    assert not has_admission(admission_key("another secret"), ada, [genuine])
    assert not has_admission(KEY, ada, [])


def test_an_admission_with_any_bit_changed_or_missing_is_none() -> None:
    ada = Guest(uuid4(), uuid4())
    genuine = write_admission(KEY, ada)
    for n in range(len(genuine)):
        for bit in range(8):
            forged = bytearray(genuine)
            forged[n] ^= 1 << bit
            assert not has_admission(KEY, ada, [bytes(forged)])
    for other in (genuine[:-1], genuine + b"A", genuine + b"==", genuine.swapcase()):
        assert not has_admission(KEY, ada, [other])
