"""Who calls a service that stands behind identity: told by the access token that they send.

`identify` verifies the token by identity's public keys, and a token that was seen before costs one
hash; it learns of a logout when the token ends. `require` asks identity itself whether the caller
may do something at this moment, and is for what only a few may do. While identity is away, tokens
that are known are still good, and what must be asked is refused.
"""

from uuid import UUID

from starlette.types import Scope

from holdfast.core.errors import ForbiddenError, UnauthenticatedError
from holdfast.core.identity import Identity
from holdfast.core.jwks import RemoteKeys
from holdfast.core.settings import Settings
from holdfast.core.tokens import Claims, TokenVerifier

SCHEME = b"bearer "
CLAIMS = "holdfast.claims"  # in the scope, where the front door of this very process verified them


def page_cookie(origin: str) -> str:
    """The cookie that a signed-in browser has. The prefix makes browsers refuse it from anybody but
    this very host.
    """
    return "__Host-holdfast" if origin.startswith("https://") else "holdfast_session"


class Callers:
    def __init__(self, settings: Settings, identity: Identity) -> None:
        self._identity = identity
        self._tokens = verifier(settings)

    async def identify(self, scope: Scope) -> Claims:
        verified: Claims | None = scope.get(CLAIMS)
        if verified is not None:
            return verified
        token = bearer_token(scope)
        return self._tokens.remembered(token) or await self._tokens.verify(token)

    async def require(self, scope: Scope, permission: str) -> UUID:
        """The caller's id, if they have the permission now."""
        person = await self._identity.who_is(bearer_token(scope))
        if permission not in person.permissions:
            raise ForbiddenError(f"This needs the permission {permission}.")
        return person.id


def verifier(settings: Settings) -> TokenVerifier:
    """Of identity's tokens, by the keys that identity publishes."""
    identity = settings.identity_url or settings.origin
    keys = RemoteKeys(f"{identity}/.well-known/jwks.json")
    return TokenVerifier(issuer=settings.origin, audience=settings.audience, find_key=keys.find)


def bearer_token(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"authorization":
            if value[: len(SCHEME)].lower() != SCHEME:
                break
            return bytes(value[len(SCHEME) :])
    raise UnauthenticatedError
