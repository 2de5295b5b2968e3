"""What the token endpoint answers."""

from typing import Literal

import msgspec


class TokensOut(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int
    scope: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme
    refresh_token: str | msgspec.UnsetType = msgspec.UNSET
    id_token: str | msgspec.UnsetType = msgspec.UNSET
