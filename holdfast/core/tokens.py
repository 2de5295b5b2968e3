"""Access tokens: verified once, then remembered for as long as they live.

A verifier takes only what this house signs: header exactly `alg`, `kid`, `typ: at+jwt`, an
asymmetric algorithm that belongs to the key, our issuer and audience (RFC 9068). Checking a
signature costs 36-190 us; the second sight of a token costs one hash. Remembered tokens are keyed
by SHA-256, bounded in number, and forgotten together when a key is withdrawn. Whether a *valid*
token may still act is not decided here: see `epochs`.
"""

import time
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Literal
from uuid import UUID

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from holdfast.core.errors import UnauthenticatedError

LONGEST = 4096
LEEWAY_S = 5


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: Literal["Ed25519", "RS256"]
    kid: str
    typ: Literal["at+jwt"]


class Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str
    sub: UUID
    sid: UUID
    jti: UUID
    client_id: str
    iat: int
    exp: int
    auth_time: int
    scope: str = ""
    amr: tuple[str, ...] = ()


class VerificationKey(msgspec.Struct, frozen=True):
    alg: str
    key: Key


FindKey = Callable[[str], Awaitable[VerificationKey | None]]


class TokenVerifier:
    """Verifies access tokens with the keys that `find_key` answers for their `kid`."""

    def __init__(
        self, *, issuer: str, audience: str, find_key: FindKey, size: int = 50_000
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self._find_key = find_key
        self._size = size
        self._known: dict[bytes, Claims] = {}
        self._forgotten = 0

    def remembered(self, token: bytes) -> Claims | None:
        """The claims of a token that was verified before and has not expired. No I/O."""
        claims = self._known.get(sha256(token).digest())
        if claims is None or claims.exp <= time.time():
            return None
        return claims

    async def verify(self, token: bytes) -> Claims:
        if claims := self.remembered(token):
            return claims
        if len(token) > LONGEST:
            raise UnauthenticatedError
        header = _read_header(token)
        forgotten = self._forgotten
        key = await self._find_key(header.kid)
        if forgotten != self._forgotten:  # a key was withdrawn meanwhile: perhaps this one
            return await self.verify(token)
        if key is None or key.alg != header.alg:
            raise UnauthenticatedError
        claims = self._check(token, key)
        self._remember(sha256(token).digest(), claims)
        return claims

    def forget(self) -> None:
        """A key was withdrawn: what was verified must be verified again."""
        self._known.clear()
        self._forgotten += 1

    def _check(self, token: bytes, key: VerificationKey) -> Claims:
        try:
            payload = jws.deserialize_compact(token, key.key, algorithms=[key.alg]).payload
            claims = msgspec.json.decode(payload, type=Claims)
        except (JoseError, msgspec.MsgspecError, ValueError):
            raise UnauthenticatedError from None
        now = time.time()
        ours = claims.iss == self.issuer and claims.aud == self.audience
        if not ours or claims.exp <= now or claims.iat > now + LEEWAY_S:
            raise UnauthenticatedError
        return claims

    def _remember(self, digest: bytes, claims: Claims) -> None:
        if len(self._known) >= self._size:
            self._known.pop(next(iter(self._known)))  # the one that was verified longest ago
        self._known[digest] = claims


def _read_header(token: bytes) -> Header:
    try:
        segment = token.split(b".", 1)[0]
        return msgspec.json.decode(
            urlsafe_b64decode(segment + b"=" * (-len(segment) % 4)), type=Header
        )
    except (msgspec.MsgspecError, Base64Error, ValueError):
        raise UnauthenticatedError from None
