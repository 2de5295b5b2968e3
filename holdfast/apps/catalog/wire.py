"""What the catalog's wire types share: amounts, moments, and changes of some fields only."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from holdfast.core.wire import Input

MOST_UNITS = 1_000_000_000
MOST_KRW = 1_000_000_000_000


def _written_out(value: Any) -> Any:
    """To pydantic a number is a moment too, and a day alone; the contract knows neither."""
    if ":" not in str(value):
        raise ValueError("must be a moment with its offset, such as 2027-03-01T09:30:00Z")
    return value


def _a_number(value: Any) -> Any:
    """To pydantic `"5"` and `true` are numbers too; the contract knows 5 and 5.0."""
    if isinstance(value, str | bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic makes an answer of it
    return value


Whole = Annotated[int, BeforeValidator(_a_number)]
Won = Annotated[Whole, Field(ge=0, le=MOST_KRW)]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written_out),
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)),
]


class ChangeIn(Input):
    """What is not sent stays as it is: the defaults of such fields are never used."""

    @model_validator(mode="after")
    def _refuse_nothing(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"send at least one of {', '.join(type(self).model_fields)}")
        return self

    def sent(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)
