"""What all of identity's wire types share: the envelope, pages, and what input must never hold."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Generic, TypeVar
from unicodedata import normalize

import msgspec
from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from holdfast.apps.identity.passwords import LONGEST_BYTES
from holdfast.core.errors import InvalidError

Content = TypeVar("Content")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]


def _normalised(address: str) -> str:
    """One mailbox has one spelling here, so that letter case opens no second account or bucket."""
    return normalize("NFC", address.strip()).lower()


def _bounded_password(password: str) -> str:
    if len(password.encode()) > LONGEST_BYTES:
        raise ValueError(f"must be at most {LONGEST_BYTES} bytes")
    return password


# No character by which a mail program would read another address into it, or several.
ADDRESS = r'[^@\s\p{Cc}<>()\[\]\\,;:"]'
ADDRESS_END = r'[^@\s\p{Cc}<>()\[\]\\,;:".]'
Email = Annotated[
    Text,
    AfterValidator(_normalised),
    Field(max_length=254, pattern=rf"^{ADDRESS}{{1,64}}@{ADDRESS}+\.{ADDRESS_END}+$"),
]
PasswordText = Annotated[Text, AfterValidator(_bounded_password), Field(min_length=1)]


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
            if _cursor(position) == self.cursor:  # no other spelling of it
                return position
        raise InvalidError(("cursor", "is not one that a page of this list gave"))


TextPosition = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
PageOf = Annotated[PageQuery, Query()]


def next_cursor(rows: Sequence[Any], limit: int, position: Any) -> str | None:
    """The cursor of the next page, if this one was full; `position` of its last row."""
    if len(rows) < limit:
        return None
    return _cursor(position(rows[-1]))


def _cursor(position: Any) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")
