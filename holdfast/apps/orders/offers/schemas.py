"""What the catalog tells of an offer."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from holdfast.core.errors import BusyError, NotFoundError, ProblemError

MOST = 10**12
MOST_PER_CUSTOMER = 2**31 - 1
MOST_PER_S = 10_000
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]  # PostgreSQL has no NUL in a text
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Offer(msgspec.Struct, frozen=True):
    id: UUID
    kind: Literal["deal", "product"]
    product_id: UUID
    name: Text
    price_krw: Annotated[int, msgspec.Meta(ge=0, le=MOST)]
    quantity: Annotated[int, msgspec.Meta(ge=0, le=MOST)]  # how many there are in all
    opens_at: Moment | None
    closes_at: Moment | None
    per_customer: Annotated[int, msgspec.Meta(ge=1, le=MOST_PER_CUSTOMER)] | None
    # None: no waiting room. A catalog of an earlier release does not know of them.
    admit_per_s: Annotated[int, msgspec.Meta(ge=1, le=MOST_PER_S)] | None = None


class CatalogAwayError(BusyError):
    sentence = (
        "The catalog does not answer, and its last word on this is too old to sell by."
        " Try again shortly."
    )


class UnknownOfferError(NotFoundError):
    sentence = "There is no such offer. Take an id of a deal or a product from the catalog."


class OverError(ProblemError):
    status = HTTPStatus.GONE
    sentence = "The sale is over."
