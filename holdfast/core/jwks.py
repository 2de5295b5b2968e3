"""Another service's public keys, fetched from its JWKS and kept for as long as it allows.

A `find_key` for `core.tokens.TokenVerifier`, and for whoever checks ID tokens. A key that is known
is answered from memory, also while the set is fetched anew; only an unknown `kid` waits for a
fetch, and however many ask there is one at a time and at most one a second. While the endpoint is
away the old keys serve on for an hour. A set that cannot be read changes nothing.

    keys = RemoteKeys("https://id.example.com/.well-known/jwks.json")
    tokens = TokenVerifier(issuer=..., audience=..., find_key=keys.find)
"""

import asyncio
import logging
import re
import time
from contextvars import Context
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import Key, OKPKey, RSAKey, import_key

from holdfast.core.errors import BusyError
from holdfast.core.tokens import VerificationKey

SHORTEST_KEPT_S, LONGEST_KEPT_S = 5 * 60, 24 * 3600
SERVE_ON_S = 3600
LOOK_AGAIN_S = 1.0
ANSWERS_WITHIN = aiohttp.ClientTimeout(total=3)
LARGEST_BODY = 64 * 1024
SHORTEST_RSA_BITS = 2048
MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", re.IGNORECASE)
log = logging.getLogger(__name__)


class RemoteKeys:
    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, VerificationKey] = {}
        self._fresh_until = float("-inf")
        self._look_again_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> VerificationKey | None:
        """The key of this id; None when the set has none. Fails when there is no set to trust."""
        found = self._keys.get(kid) if self._serve else None
        if found is None or time.monotonic() > self._fresh_until:
            self._look()
        if found is None and self._looking is not None:
            await asyncio.shield(self._looking)  # it serves others too
        if not self._serve:
            raise KeysAwayError
        return self._keys.get(kid)

    @property
    def _serve(self) -> bool:
        return time.monotonic() <= self._fresh_until + SERVE_ON_S

    def _look(self) -> None:
        """Begin to fetch, unless somebody does, or did a moment ago."""
        if self._looking is None and time.monotonic() >= self._look_again_at:
            loop = asyncio.get_running_loop()
            self._looking = loop.create_task(self._fetch(), name="jwks", context=Context())

    async def _fetch(self) -> None:
        began = time.monotonic()
        try:
            self._keys, for_s = await self._get()
            self._fresh_until = began + for_s
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            log.warning("No keys from %s: %r", self._url, error)
        finally:
            self._look_again_at = time.monotonic() + LOOK_AGAIN_S
            self._looking = None

    async def _get(self) -> tuple[dict[str, VerificationKey], int]:
        """The keys, and for how many seconds they may be kept."""
        async with (  # it is seldom done, so no connection is kept for it
            aiohttp.ClientSession(timeout=ANSWERS_WITHIN) as http,
            http.get(self._url, allow_redirects=False) as answer,
        ):
            if answer.status != HTTPStatus.OK:
                raise ValueError(f"status {answer.status}")
            keys = read_keys(await bounded_body(answer))
            return keys, kept_s(answer.headers.get("Cache-Control", ""))


async def bounded_body(answer: aiohttp.ClientResponse, most: int = LARGEST_BODY) -> bytes:
    """The body, unless it is larger than any honest answer."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > most:
            raise ValueError(f"a body of more than {most} bytes")
    return bytes(body)


def read_keys(body: bytes) -> dict[str, VerificationKey]:
    """The keys of a set that can verify; others may be in it, for other uses."""
    keys = msgspec.json.decode(body, type=KeySet).keys
    return {kid: key for one in keys for kid, key in _usable(one)}


def kept_s(cache_control: str) -> int:
    """For how long a set may be kept: as its server says, within bounds."""
    told = MAX_AGE.search(cache_control)
    return min(max(int(told[1]) if told else 0, SHORTEST_KEPT_S), LONGEST_KEPT_S)


def _usable(jwk: dict[str, Any]) -> list[tuple[str, VerificationKey]]:
    kid = jwk.get("kid")
    if not isinstance(kid, str) or jwk.get("use", "sig") != "sig":
        return []
    try:
        key = import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError):
        return []
    alg = _algorithm_of(key)
    return [(kid, VerificationKey(alg, key))] if alg and alg == jwk.get("alg") else []


def _algorithm_of(key: Key) -> str | None:
    """The one algorithm that this key may verify here."""
    match key:
        case RSAKey() if key.public_key.key_size >= SHORTEST_RSA_BITS:
            return "RS256"
        case OKPKey() if key.curve_name == "Ed25519":
            return "Ed25519"
    return None


class KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class KeysAwayError(BusyError):
    sentence = "The keys that verify tokens cannot be read at this moment. Try again shortly."
