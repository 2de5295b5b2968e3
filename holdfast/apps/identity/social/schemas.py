"""What social login keeps between two requests, learns from a provider, and tells its users."""

from datetime import datetime
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field

ProviderName = Literal["google", "github", "kakao"]


class Flow(msgspec.Struct, frozen=True):
    """A visit to a provider that has begun: what must fit when the browser comes back."""

    provider: ProviderName
    verifier: str  # RFC 7636
    nonce: str
    next: str
    session_id: UUID | None  # whose account is to be linked; nobody's: somebody signs in


class Returned(BaseModel):
    """What a provider lets a browser bring back, besides what it adds for itself."""

    state: str = ""
    code: str = ""
    iss: str | None = None  # RFC 9207
    error: str | None = None


class Profile(NamedTuple):
    """Who somebody is at a provider, as it has proved to us."""

    provider: ProviderName
    provider_id: str
    email: str | None
    email_verified: bool


class LinkedOut(BaseModel):
    provider: ProviderName
    email: str | None
    linked_at: datetime


class KakaoUnlinkIn(BaseModel):
    """Kakao may add fields; only whose link it is matters here."""

    user_id: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
