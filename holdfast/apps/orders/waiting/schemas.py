"""Who waits for what, where they stand, and why somebody cannot."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from holdfast.core.errors import ConflictError, NotFoundError

MOST_IN_LINE = 10_000


class Wish(NamedTuple):
    """One customer's, for one unit of an offer."""

    offer_id: UUID
    customer_id: UUID


class PlaceOut(msgspec.Struct, frozen=True):
    position: int  # 1 is served next
    total: int  # who wait for this offer, oneself among them


class NotSoldOutError(ConflictError):
    sentence = "There is some left: place an order instead of waiting."


class LineFullError(ConflictError):
    sentence = f"{MOST_IN_LINE:,} wait for this already. Nobody else can join at the moment."


class NotWaitingError(NotFoundError):
    sentence = "You do not wait for this. If you did, see your orders: one of them may be for it."
