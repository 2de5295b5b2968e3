"""What anybody may know of a sale, and what a receipt says. Nothing of it tells who bought."""

from datetime import datetime
from uuid import UUID

import msgspec


class LedgerOut(msgspec.Struct, frozen=True):
    """At every moment: initial = remaining + held + sold."""

    initial: int
    remaining: int
    held: int
    sold: int
    places: int
    as_of: datetime


class WinnerOut(msgspec.Struct, frozen=True):
    place: int
    order_id: UUID
    quantity: int
    placed_at: datetime
    holds: bool  # reserved or paid; otherwise the units were given back


class ReceiptOut(msgspec.Struct, frozen=True):
    receipt: str


class PlaceClaim(msgspec.Struct, frozen=True):
    offer_id: UUID
    place: int
    quantity: int


class ReceiptClaims(msgspec.Struct, frozen=True):
    iss: str
    order_id: UUID
    placed_at: datetime
    items: list[PlaceClaim]
