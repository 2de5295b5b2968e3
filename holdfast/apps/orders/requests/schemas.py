"""A request for an order, as whoever asked sees it, and why there is none."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from holdfast.core.errors import BusyError, NotFoundError

State = Literal["waiting", "placed", "refused"]


class RequestOut(msgspec.Struct, frozen=True):
    id: UUID
    state: State
    order_id: UUID | None
    problem: msgspec.Raw | None  # as it was stored
    requested_at: datetime
    decided_at: datetime | None


class QueueFullError(BusyError):
    sentence = "Too many orders wait to be decided about. Try again shortly."


class TooManyListenersError(BusyError):
    sentence = "Too many listen at this moment. Look at the request now and then instead."


class NoSuchRequestError(NotFoundError):
    sentence = "You have no such request."


def request_of(row: Any) -> RequestOut:
    return RequestOut(
        id=row.id,
        state=row.state,
        order_id=row.order_id,
        problem=row.problem and msgspec.Raw(row.problem.encode()),
        requested_at=row.requested_at,
        decided_at=row.decided_at,
    )
