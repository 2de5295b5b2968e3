"""Whose turn it is, told by the clock alone; and the text that says so to whoever sells.

A turn is a moment. From then on its customer has some time to order, whatever else happens:
nothing has to be advanced, so nothing stops when a process dies.

An admission is a keyed hash of the offer and the customer. It keeps those out, at the cost of the
hash, who were never admitted; nobody can invent one, and it is of no use to anybody else. Whether
the turn is now, and still unused, is for the order's transaction to decide.
"""

import hmac
import random
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from hashlib import blake2b, sha256

from holdfast.apps.orders.room.schemas import Guest, Sale, State

PATIENCE = timedelta(seconds=120)  # to order in
MOST_JOINS = 3
TELL_EVERY_S = (1.5, 3.0)  # somewhere in between: not everybody at the same moment
PURPOSE = b"holdfast.orders.admissions"
MARK_BYTES = 16


def sale_of(
    now: datetime, *, opens_at: datetime | None, closes_at: datetime | None, remaining: int
) -> Sale:
    if closes_at is not None and now >= closes_at:
        return "over"
    if opens_at is not None and now < opens_at:
        return "early"
    return "open" if remaining else "sold_out"


def state_of(
    now: datetime, sale: Sale, *, has_room: bool, turn_at: datetime | None, used: bool
) -> State:
    """Where the room was given up in the middle of the sale, everybody may order."""
    if used:
        return "used"
    if not has_room and sale != "early":
        return "admitted"
    if turn_at is None:
        return "gathering"
    if now < turn_at:
        return "waiting"
    return "admitted" if now < turn_at + PATIENCE else "missed"


def pause_s(now: datetime, until: datetime | None) -> float:
    """How long to say nothing to somebody whose moment this is: no longer than that."""
    pause = random.uniform(*TELL_EVERY_S)  # noqa: S311 - no secret
    left_s = (until - now).total_seconds() if until else 0
    return min(pause, left_s) if left_s > 0 else pause


@cache
def admission_key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), PURPOSE, sha256)


def write_admission(key: bytes, guest: Guest) -> bytes:
    mark = blake2b(guest.offer_id.bytes + guest.customer_id.bytes, key=key, digest_size=MARK_BYTES)
    return urlsafe_b64encode(mark.digest()).rstrip(b"=")


def has_admission(key: bytes, guest: Guest, shown: Iterable[bytes]) -> bool:
    genuine = write_admission(key, guest)
    return any(hmac.compare_digest(genuine, one) for one in shown)
