"""What goes over the wire about deals."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from holdfast.apps.catalog.wire import MOST_UNITS, ChangeIn, Moment, Whole, Won
from holdfast.core.errors import ConflictError
from holdfast.core.wire import Input

LARGEST_LIMIT = 1_000_000
MOST_PER_S = 10_000
NEVER_USED = datetime.min.replace(tzinfo=UTC)

Quota = Annotated[Whole, Field(ge=1, le=MOST_UNITS)]
PerCustomer = Annotated[Whole, Field(ge=1, le=LARGEST_LIMIT)] | None
AdmitPerS = Annotated[Whole, Field(ge=1, le=MOST_PER_S)] | None  # None: no waiting room


class DealIn(Input):
    product_id: UUID
    price_krw: Won
    opens_at: Moment
    closes_at: Moment
    quota: Quota
    per_customer: PerCustomer = None
    admit_per_s: AdmitPerS = None


class DealChangeIn(ChangeIn):
    price_krw: Won = 0
    opens_at: Moment = NEVER_USED
    closes_at: Moment = NEVER_USED
    quota: Quota = 0
    per_customer: PerCustomer = None
    admit_per_s: AdmitPerS = None


class DealOut(BaseModel):
    id: UUID
    product_id: UUID
    name: str
    price_krw: int
    usual_price_krw: int
    opens_at: datetime
    closes_at: datetime
    quota: int
    per_customer: int | None
    admit_per_s: int | None
    sold_out: bool
    withdrawn_at: datetime | None
    created_at: datetime
    changed_at: datetime


class DealOverError(ConflictError):
    sentence = "This deal is over and stays as it was. Make a new one."
