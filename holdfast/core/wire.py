"""What all wire types share: the envelope, pages, and what input must never hold."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from holdfast.core.errors import InvalidError

Content = TypeVar("Content")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]


class Input(BaseModel):
    """A request's body: a field that is not known is refused, so nothing is assigned by chance."""

    model_config = ConfigDict(extra="forbid")


class Data(BaseModel, Generic[Content]):
    data: Content


class Page(BaseModel, Generic[Content]):
    data: list[Content]
    next_cursor: str | None


class PageQuery(Input):
    limit: int = Field(20, ge=1, le=100)
    cursor: Text | None = Field(None, max_length=200)

    def after(self, kind: Any) -> Any:
        """Where the last page ended; what a client invents is refused."""
        if self.cursor is None:
            return None
        with suppress(ValueError, OverflowError, msgspec.MsgspecError):
            packed = urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
            position = msgspec.msgpack.decode(packed, type=kind)
            if cursor_of(position) == self.cursor:  # no other spelling of it
                return position
        raise InvalidError(("cursor", "is not one that a page of this list gave"))


TextPosition = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
PageOf = Annotated[PageQuery, Query()]


def next_cursor(rows: Sequence[Any], limit: int, position: Any) -> str | None:
    """The cursor of the next page, if this one was full; `position` of its last row."""
    if len(rows) < limit:
        return None
    return cursor_of(position(rows[-1]))


def cursor_of(position: Any) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")
