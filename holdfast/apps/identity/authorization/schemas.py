"""What an authorization code stands for, and what goes over the wire about consents."""

from datetime import datetime
from uuid import UUID

import msgspec
from pydantic import BaseModel

CODE = "code"  # the purpose of its ticket


class Code(msgspec.Struct, frozen=True):
    """A sign-in to a client: by whom, in which browser, and what the exchange must know."""

    client_id: str
    redirect_uri: str
    challenge: str
    scopes: tuple[str, ...]
    nonce: str | None
    user_id: UUID
    browser_session: UUID
    session_id: UUID  # which the exchange begins


class ConsentOut(BaseModel):
    client_id: str
    name: str
    scopes: list[str]
    given_at: datetime
