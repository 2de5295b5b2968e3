"""Pages of other origins: which may read our answers (by name), and what they may ask for.

They bring a token of their own. Cookies are never allowed for them, so a foreign page can do nothing
in the name of whoever looks at it. Where no origin is named there is no word of CORS at all.
"""

from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import Message, Scope

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
READABLE = b"Location, ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Request-Id"
KEPT_S = b"600"

Headers = list[tuple[bytes, bytes]]


class Cors:
    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def allows(self, origin: bytes | None) -> bool:
        return origin in self._origins

    def on_answer(self, origin: bytes | None) -> Headers:
        """What is added to every answer: who may read it, and that this depends on who asks."""
        varies = (b"vary", b"Origin")
        if origin is None or not self.allows(origin):
            return [varies]
        return [
            varies,
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", READABLE),
        ]

    def preflight(self, scope: Scope, origin: bytes | None) -> Message | None:
        """The answer to a browser that asks first; None if this is no such question."""
        if scope.get("method") != "OPTIONS" or not self.allows(origin):
            return None
        asked = dict(scope["headers"])
        if b"access-control-request-method" not in asked:
            return None
        headers: Headers = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", KEPT_S),
            (b"vary", b"Access-Control-Request-Headers"),
        ]
        if wanted := asked.get(b"access-control-request-headers"):
            headers.append((b"access-control-allow-headers", wanted))
        return {
            "type": "http.response.start",
            "status": HTTPStatus.NO_CONTENT,
            "headers": headers,
        }
