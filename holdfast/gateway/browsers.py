"""Pages use the API by the cookie of their person: the front door finds the token that belongs to it.

A token in a script could be stolen by a script, so pages have none. The cookie is turned into a
token only for what a page of our own origin asks: browsers say so in headers that no script and no
foreign page can set. A token is remembered for less than a minute; then identity is asked again, so
that whoever signed out elsewhere is out here too. The token itself stays on this side of the door.
"""

import asyncio
import time
from collections import OrderedDict
from contextvars import Context
from hashlib import sha256
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from secrets import token_hex
from typing import Any, NamedTuple

import msgspec
from starlette.types import ASGIApp, Message, Scope

from holdfast.core.callers import page_cookie
from holdfast.core.identity import IdentityAwayError
from holdfast.core.settings import Settings
from holdfast.gateway.passage import KEY, Passage
from holdfast.gateway.table import Route

REMEMBERED_S = 30.0
MOST = 50_000
LONGEST_COOKIE = 512
ASK = Route(
    path="/internal/v1/page-token",
    upstream="identity",
    access="public",
    timeout_s=2,
    largest_body=0,
    limits=(),
    exact=True,
)


class Token(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


class TokenAnswer(msgspec.Struct, frozen=True):
    data: Token


class Known(NamedTuple):
    token: bytes | None  # None: nobody is signed in by this cookie
    until: float


class Browsers:
    def __init__(self, settings: Settings, identity: ASGIApp) -> None:
        self._name = page_cookie(settings.origin)
        self._origin = settings.origin.encode()
        self._identity = identity
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[bytes | None]] = {}

    async def token_for(self, scope: Scope) -> bytes | None:
        """The token of the person whose page asks; None if it is no page of ours, or nobody's."""
        cookie = self._cookie(scope)
        if not cookie or not self._is_from_our_page(scope):
            return None
        key = sha256(cookie.encode()).digest()
        known = self._known.get(key)
        if known and known.until > time.monotonic():
            return known.token
        asking = self._asking.get(key)
        if asking is None:  # a page asks many things at once, and its person is asked for once
            asking = asyncio.create_task(self._learn(key, cookie), context=Context())
            asking.add_done_callback(_heed)
            self._asking[key] = asking
        return await asyncio.shield(asking)

    def _is_from_our_page(self, scope: Scope) -> bool:
        """A browser that does not tell the site tells the origin, wherever a request may change
        something.
        """
        told = dict(scope["headers"])
        site = told.get(b"sec-fetch-site")
        if site is not None:
            return bool(site == b"same-origin")
        return bool(told.get(b"origin") == self._origin)

    def _cookie(self, scope: Scope) -> str | None:
        name = self._name.encode()
        lines = [value for header, value in scope["headers"] if header == b"cookie"]
        told = b"; ".join(line for line in lines if name in line)
        if not told:
            return None
        try:
            cookie = SimpleCookie(told.decode("latin-1")).get(self._name)
        except CookieError:
            return None
        return cookie.value if cookie and len(cookie.value) <= LONGEST_COOKIE else None

    async def _learn(self, key: bytes, cookie: str) -> bytes | None:
        try:
            token, for_s = await self._ask(cookie)
            self._known[key] = Known(token, time.monotonic() + for_s)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
            return token
        finally:
            del self._asking[key]

    async def _ask(self, cookie: str) -> tuple[bytes | None, float]:
        """The token, and for how long it may be remembered."""
        status, body = await _call(self._identity, f"{self._name}={cookie}")
        if status == HTTPStatus.UNAUTHORIZED:
            return None, REMEMBERED_S
        if status != HTTPStatus.OK:
            raise IdentityAwayError
        told = msgspec.json.decode(body, type=TokenAnswer).data
        return told.access_token.encode(), min(REMEMBERED_S, told.expires_in / 2)


async def _call(upstream: ASGIApp, cookie: str) -> tuple[int, bytes]:
    """Ask an upstream for a token, wherever it is: in this process or over the network."""
    status, body = 0, b""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body += message.get("body", b"")

    passage = Passage(ASK, token_hex(8), "127.0.0.1", time.monotonic() + ASK.timeout_s)
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": ASK.path,
        "raw_path": ASK.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"identity"), (b"cookie", cookie.encode("latin-1"))],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        KEY: passage,
    }
    try:
        async with asyncio.timeout(ASK.timeout_s):
            await upstream(scope, receive, send)
    except TimeoutError as error:
        raise IdentityAwayError from error
    return status, body


def _heed(asking: asyncio.Task[bytes | None]) -> None:
    """A failure whose callers have all left is nobody's to see."""
    if not asking.cancelled():
        asking.exception()
