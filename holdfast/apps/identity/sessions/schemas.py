"""What goes over the wire about sessions and tokens."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from holdfast.apps.identity.wire import Input, Text


class RefreshIn(Input):
    refresh_token: Annotated[Text, Field(min_length=1, max_length=200)]


class TokensOut(BaseModel):
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme
    expires_in: int


class PageTokenOut(BaseModel):
    access_token: str
    expires_in: int


class EndedOut(BaseModel):
    ended: int


class SessionOut(BaseModel):
    id: UUID
    client_id: str | None
    device: str
    ip: IPv4Address | IPv6Address
    created_at: datetime
    last_seen_at: datetime
    current: bool


class RevokeSessionsIn(Input):
    session_ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)]
