"""An order as its customer sees it, and as those do who may see everybody's."""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec

from holdfast.core.errors import NotFoundError

Status = Literal["reserved", "paid", "cancelled", "expired", "refunded"]
STATUSES: tuple[Status, ...] = get_args(Status)


class ItemOut(msgspec.Struct, frozen=True):
    offer_id: UUID
    name: str
    quantity: int
    unit_price_krw: int
    place: int  # in the order in which the offer was sold


class OrderOut(msgspec.Struct, frozen=True):
    id: UUID
    status: Status
    items: list[ItemOut]
    total_krw: int
    placed_at: datetime
    held_until: datetime
    changed_at: datetime
    key: str


class CustomerOrderOut(OrderOut, frozen=True):
    customer_id: UUID


class NoSuchOrderError(NotFoundError):
    sentence = "You have no such order."


def order_of(row: Any) -> OrderOut:
    """An order as it was read, with its items as PostgreSQL has put them together."""
    return OrderOut(
        id=row.id,
        status=row.status,
        items=msgspec.json.decode(row.items, type=list[ItemOut]),
        total_krw=row.total_krw,
        placed_at=row.placed_at,
        held_until=row.held_until,
        changed_at=row.changed_at,
        key=row.key,
    )


def customer_order_of(row: Any) -> CustomerOrderOut:
    return CustomerOrderOut(**msgspec.structs.asdict(order_of(row)), customer_id=row.customer_id)
