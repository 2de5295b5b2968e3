"""Orders are looked up: one's own by id, by key or in a list; everybody's by whoever may."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BeforeValidator

from holdfast.apps.orders.guard import Customer, permits
from holdfast.apps.orders.records import queries
from holdfast.apps.orders.records.schemas import (
    STATUSES,
    NoSuchOrderError,
    Status,
    customer_order_of,
    order_of,
)
from holdfast.apps.orders.resources import Here
from holdfast.apps.orders.wire import answer, page
from holdfast.core.wire import PageQuery, next_cursor

Aware = Annotated[datetime, msgspec.Meta(tz=True)]
Position = tuple[Aware, UUID]
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)
FIRST_ID = UUID(int=0)

router = APIRouter(prefix="/api/v1")


def _moment(text: str) -> datetime:
    try:
        return msgspec.convert(text, Aware).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise ValueError("must be like 2027-03-01T09:30:00Z, with Z or an offset") from None


Moment = Annotated[datetime, BeforeValidator(_moment)]
Key = Annotated[str, Path(pattern="^[!-~]{1,255}$")]


class OrdersQuery(PageQuery):
    status: Status | None = None
    placed_from: Moment | None = None
    placed_to: Moment | None = None


class AllOrdersQuery(OrdersQuery):
    customer_id: UUID | None = None


@router.get("/orders")
async def list_orders(
    here: Here, customer_id: Customer, asked: Annotated[OrdersQuery, Query()]
) -> Response:
    rows = await queries.select_orders_of_customer(
        here.db, customer_id=customer_id, **_stretch(asked)
    )
    return page([order_of(row) for row in rows], _next(rows, asked))


# A key may hold slashes; so this comes before the addresses below an order's id.
@router.get("/orders/by-key/{key:path}")
async def show_order_by_key(here: Here, customer_id: Customer, key: Key) -> Response:
    return _one(await queries.select_order_by_key(here.db, customer_id=customer_id, key=key))


@router.get("/orders/{order_id}")
async def show_order(here: Here, customer_id: Customer, order_id: UUID) -> Response:
    return _one(await queries.select_order(here.db, customer_id=customer_id, order_id=order_id))


@router.get("/admin/orders")
async def list_all_orders(
    here: Here,
    asked: Annotated[AllOrdersQuery, Query()],
    caller: Annotated[UUID, Depends(permits("orders:read"))],
) -> Response:
    async with here.db.reader() as db:
        if asked.customer_id is None:
            rows = await queries.select_orders_of_everybody(db, **_stretch(asked))
        else:
            rows = await queries.select_orders_of_customer(
                db, customer_id=asked.customer_id, **_stretch(asked)
            )
    return page([customer_order_of(row) for row in rows], _next(rows, asked))


def _one(row: queries.Order | None) -> Response:
    if row is None:
        raise NoSuchOrderError
    return answer(order_of(row))


def _stretch(asked: OrdersQuery) -> dict[str, Any]:
    """Which part of a list is asked for, newest first: it ends where the page before began, or at
    `placed_to`, whichever is earlier.
    """
    before, before_id = min(
        (asked.placed_to or END, FIRST_ID), asked.after(Position) or (END, FIRST_ID)
    )
    return {
        "statuses": [asked.status] if asked.status else STATUSES,
        "placed_from": asked.placed_from or BEGINNING,
        "before": before,
        "before_id": before_id,
        "most": asked.limit,
    }


def _next(rows: Sequence[queries.Order], asked: OrdersQuery) -> str | None:
    return next_cursor(rows, asked.limit, lambda row: (row.placed_at, row.id))
