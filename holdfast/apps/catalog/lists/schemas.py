"""How lists are asked for, and what they answer."""

from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field

from holdfast.apps.catalog.deals.schemas import DealOut
from holdfast.apps.catalog.products.schemas import Category, ProductOut
from holdfast.apps.catalog.wire import MOST_KRW
from holdfast.core.errors import InvalidError
from holdfast.core.wire import Page, PageQuery, Text, TextPosition

DEEPEST = 10_000  # products, to where a numbered page may reach
COUNTED_TO = 10_000

Sort = Literal["newest", "price", "-price", "name"]
Price = Annotated[int, Field(ge=0, le=MOST_KRW)]
PricePosition = Annotated[int, msgspec.Meta(ge=0, le=MOST_KRW)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]

# A cursor begins with a mark of the list that it belongs to.
POSITIONS: dict[Sort, Any] = {
    "newest": tuple[str, None, UUID],
    "price": tuple[str, PricePosition, UUID],
    "-price": tuple[str, PricePosition, UUID],
    "name": tuple[str, TextPosition, UUID],
}


class ProductsAsked(NamedTuple):
    """A page of products: the same one, in whatever words it was asked for."""

    sort: Sort
    category: str | None
    price_from: int
    price_to: int
    limit: int
    skip: int = 0
    after: tuple[Any, UUID] | None = None

    @property
    def within_prices(self) -> bool:
        return self.price_from > 0 or self.price_to < MOST_KRW

    @property
    def mark(self) -> str:
        """The same for all pages of one list, and for no other list's."""
        told = f"{self.sort} {self.category} {self.price_from} {self.price_to}"
        return blake2b(told.encode(), digest_size=6).hexdigest()

    def position(self, last: ProductOut) -> tuple[str, Any, UUID]:
        """Where the next page begins; a cursor is this."""
        match self.sort:
            case "newest":
                return self.mark, None, last.id
            case "name":
                return self.mark, last.name, last.id
            case "price" | "-price":
                return self.mark, last.price_krw, last.id


class ProductsQuery(PageQuery):
    cursor: Text | None = Field(None, max_length=1_200)  # it may hold a product's name
    page: int | None = Field(None, ge=1, le=DEEPEST)
    sort: Sort | None = None
    category: Category | None = None
    price_from: Price = 0
    price_to: Price = MOST_KRW

    def asked(self) -> ProductsAsked:
        first = ProductsAsked(
            self.sort or "newest", self.category, self.price_from, self.price_to, self.limit
        )
        if first.within_prices and self.sort is None:
            first = first._replace(sort="price")
        if first.within_prices and first.sort not in {"price", "-price"}:
            raise InvalidError(("sort", "must be price or -price where prices are bounded"))
        if self.cursor is None:
            return first._replace(skip=self._skipped())
        if self.page is not None:
            raise InvalidError(("page", "cannot be combined with a cursor"))
        mark, key, product_id = self.after(POSITIONS[first.sort])
        if mark != first.mark:
            raise InvalidError(
                ("cursor", "belongs to a list in another order or with other filters")
            )
        return first._replace(after=(key, product_id))

    def _skipped(self) -> int:
        page = self.page or 1
        if page * self.limit > DEEPEST:
            raise InvalidError(
                ("page", f"must end by product {DEEPEST:,}; read further by next_cursor")
            )
        return (page - 1) * self.limit


class ProductsPage(Page[ProductOut]):
    total: int
    total_exact: bool


State = Literal["open", "upcoming"]


class DealsAsked(NamedTuple):
    state: State
    limit: int
    after: tuple[datetime, UUID] | None = None

    def position(self, last: DealOut) -> tuple[State, datetime, UUID]:
        return self.state, last.closes_at if self.state == "open" else last.opens_at, last.id


class DealsQuery(PageQuery):
    def asked(self, state: State) -> DealsAsked:
        position = self.after(tuple[Literal[state], Moment, UUID])  # type: ignore[valid-type]
        return DealsAsked(state, self.limit, position and position[1:])


class CategoryOut(BaseModel):
    name: str
    products: int


class NowOut(BaseModel):
    now: datetime
