"""What goes over the wire about products."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from holdfast.apps.catalog.wire import MOST_UNITS, ChangeIn, Whole, Won
from holdfast.core.errors import ConflictError
from holdfast.core.wire import Input, Text

MOST_AT_ONCE = 200

Name = Annotated[Text, Field(max_length=200, pattern=r"^\S([^\n]*\S)?$")]
Description = Annotated[Text, Field(max_length=2000)]
Category = Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Stock = Annotated[Whole, Field(ge=0, le=MOST_UNITS)]
Units = Annotated[Whole, Field(ge=-MOST_UNITS, le=MOST_UNITS)]


class ProductIn(Input):
    name: Name
    description: Description = ""
    category: Category
    price_krw: Won
    stock: Stock


class ProductsIn(Input):
    products: Annotated[list[ProductIn], Field(min_length=1, max_length=MOST_AT_ONCE)]


class ProductChangeIn(ChangeIn):
    name: Name = ""
    description: Description = ""
    category: Category = ""
    price_krw: Won = 0


class StockChangeIn(Input):
    change: Units


class ProductOut(BaseModel):
    id: UUID
    name: str
    description: str
    category: str
    price_krw: int
    stock: int
    created_at: datetime
    changed_at: datetime


class DealUnderWayError(ConflictError):
    sentence = "A deal of this product is open or to come. Withdraw it first."


class StockOutOfRangeError(ConflictError):
    pass
