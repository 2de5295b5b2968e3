"""Who calls a service that stands behind identity: told by the access token that they send.

`identify` verifies the token by identity's public keys, and a token that was seen before costs one
hash; it learns of a logout when the token ends. `require` asks identity itself whether the caller
may do something at this moment, and is for what only a few may do. While identity is away, tokens
that are known are still good, and what must be asked is refused.
"""

from http import HTTPStatus
from uuid import UUID

import aiohttp
import msgspec
from starlette.types import Scope

from holdfast.core.errors import BusyError, ForbiddenError, UnauthenticatedError
from holdfast.core.jwks import RemoteKeys, bounded_body
from holdfast.core.settings import Settings
from holdfast.core.tokens import Claims, TokenVerifier

SCHEME = b"bearer "
IDENTITY_ANSWERS_WITHIN = aiohttp.ClientTimeout(total=2)


def page_cookie(origin: str) -> str:
    """The cookie that a signed-in browser has. The prefix makes browsers refuse it from anybody but
    this very host.
    """
    return "__Host-holdfast" if origin.startswith("https://") else "holdfast_session"


class Person(msgspec.Struct, frozen=True):
    id: UUID
    permissions: frozenset[str]


class PersonAnswer(msgspec.Struct, frozen=True):
    data: Person


class IdentityAwayError(BusyError):
    sentence = "It cannot be asked at the moment what you may do. Try again shortly."


class Callers:
    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._identity = settings.identity_url or settings.origin
        keys = RemoteKeys(f"{self._identity}/.well-known/jwks.json")
        self._tokens = TokenVerifier(
            issuer=settings.origin, audience=settings.audience, find_key=keys.find
        )

    async def identify(self, scope: Scope) -> Claims:
        token = bearer_token(scope)
        return self._tokens.remembered(token) or await self._tokens.verify(token)

    async def require(self, scope: Scope, permission: str) -> UUID:
        """The caller's id, if they have the permission now."""
        person = await self._ask(bearer_token(scope))
        if permission not in person.permissions:
            raise ForbiddenError(f"This needs the permission {permission}.")
        return person.id

    async def _ask(self, token: bytes) -> Person:
        headers = {"Authorization": f"Bearer {token.decode('latin-1')}"}
        try:
            async with self._http.get(
                f"{self._identity}/api/v1/users/me",
                headers=headers,
                timeout=IDENTITY_ANSWERS_WITHIN,
                allow_redirects=False,
            ) as answer:
                if answer.status == HTTPStatus.UNAUTHORIZED:
                    raise UnauthenticatedError
                if answer.status != HTTPStatus.OK:
                    raise IdentityAwayError
                body = await bounded_body(answer)
                return msgspec.json.decode(body, type=PersonAnswer).data
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            raise IdentityAwayError from error


def bearer_token(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"authorization":
            if value[: len(SCHEME)].lower() != SCHEME:
                break
            return bytes(value[len(SCHEME) :])
    raise UnauthenticatedError
