"""What all of identity's wire types share: the house's envelope and pages, addresses, passwords."""

from typing import Annotated
from unicodedata import normalize

from pydantic import AfterValidator, Field

from holdfast.apps.identity.passwords import LONGEST_BYTES
from holdfast.core.wire import Data, Input, Page, PageOf, PageQuery, Text, TextPosition, next_cursor

__all__ = [
    "Data",
    "Email",
    "Input",
    "Page",
    "PageOf",
    "PageQuery",
    "PasswordText",
    "Text",
    "TextPosition",
    "next_cursor",
]


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
