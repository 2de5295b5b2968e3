"""What is asked for, and what may be wrong with it."""

from http import HTTPStatus
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec

from holdfast.core.errors import ConflictError, ProblemError

MOST_ITEMS = 20
MOST_UNITS = 1_000


class ItemIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offer_id: UUID
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MOST_UNITS)] = 1


class OrderIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[ItemIn], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class Item(NamedTuple):
    offer_id: UUID
    quantity: int


class Asked(NamedTuple):
    """One customer's order, before anybody has decided about it."""

    customer_id: UUID
    key: str
    digest: bytes
    items: tuple[Item, ...]


class SoldOutError(ConflictError):
    sentence = "It is sold out. Join the waiting list to be served if some comes back."


class LimitReachedError(ConflictError):
    sentence = "You have as many of this as one customer may buy."


class TooEarlyError(ProblemError):
    status = HTTPStatus.TOO_EARLY
    sentence = "The sale has not begun yet. By our clock, not yours: GET /api/v1/time."


class KeyReusedError(ProblemError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    sentence = "This Idempotency-Key belongs to an order for something else. Use a new key."
