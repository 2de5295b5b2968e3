"""What is told about a token (RFC 7662)."""

from uuid import UUID

import msgspec


class TokenOut(msgspec.Struct, frozen=True):
    active: bool
    iss: str | msgspec.UnsetType = msgspec.UNSET
    aud: str | msgspec.UnsetType = msgspec.UNSET
    sub: UUID | msgspec.UnsetType = msgspec.UNSET
    sid: UUID | msgspec.UnsetType = msgspec.UNSET
    jti: UUID | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    scope: str | msgspec.UnsetType = msgspec.UNSET
    token_type: str | msgspec.UnsetType = msgspec.UNSET
    iat: int | msgspec.UnsetType = msgspec.UNSET
    exp: int | msgspec.UnsetType = msgspec.UNSET
