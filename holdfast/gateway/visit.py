"""One request at the door: what its headers say, read in one pass, and how its answer goes back.

Every answer that leaves through here carries the request's id, and whatever is added to answers of
this kind; the upstream need not know.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Iterator
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from holdfast.core.compression import takes_gzip
from holdfast.core.errors import TooLargeError
from holdfast.gateway.cors import Cors
from holdfast.gateway.proxies import SAYS_WHO
from holdfast.gateway.zipping import Zipped, pays

REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
ID_DIGITS = 16
AT_ONCE = 512
READ = SAYS_WHO | {
    b"accept-encoding",
    b"authorization",
    b"content-length",
    b"cookie",
    b"origin",
    b"transfer-encoding",
    b"x-request-id",
}
BEARER = b"bearer "


def _new_ids() -> Iterator[bytes]:
    """Random ones; asking the system for many at once costs a tenth of asking for each."""
    while True:
        drawn = os.urandom(AT_ONCE * ID_DIGITS // 2).hex().encode()
        for start in range(0, len(drawn), ID_DIGITS):
            yield drawn[start : start + ID_DIGITS]


_ids = _new_ids()


class Visit:
    has_authorization = False
    token: bytes | None = None  # a bearer's
    cookie = False
    origin: bytes | None = None
    body_bytes: bytes | None = None  # as declared
    chunked = False
    takes_gzip = False
    forwarded = False
    zippable = False
    begun = False  # the answer
    late = False
    ends_at = 0.0
    task: "asyncio.Task[Any] | None" = None

    def __init__(self, scope: Scope, send: Send, cors: Cors | None) -> None:
        self.scope = scope
        self._cors = cors
        self._forward = send
        self._id = b""
        for name, value in scope["headers"]:
            if name in READ:
                self._read(name, value)
        if not self._id:
            self._id = next(_ids)
        scope["holdfast.request_id"] = self.request_id = self._id.decode()

    def _read(self, name: bytes, value: bytes) -> None:
        if name == b"accept-encoding":
            self.takes_gzip = takes_gzip(value)
        elif name == b"authorization":
            if not self.has_authorization and value[: len(BEARER)].lower() == BEARER:
                self.token = value[len(BEARER) :]
            self.has_authorization = True
        elif name == b"content-length":
            self.body_bytes = value
        elif name == b"cookie":
            self.cookie = True
        elif name == b"origin":
            self.origin = value
        elif name == b"x-request-id":
            if REQUEST_ID.fullmatch(value):
                self._id = value
        elif name == b"transfer-encoding":
            self.chunked = True
        else:
            self.forwarded = True

    def send(self, message: Message) -> Awaitable[None]:
        """To the client. A plain function: another coroutine for every message would cost more
        than all that is done here.
        """
        if not self.begun:
            self._begin(message)
        return self._forward(message)

    def _begin(self, message: Message) -> None:
        self.begun = True
        headers = [*message.get("headers", ()), (b"x-request-id", self._id)]
        if self.zippable and pays(message, headers) and self.scope.get("method") != "HEAD":
            headers.append((b"vary", b"Accept-Encoding"))
            if self.takes_gzip:
                self._forward = Zipped(self._forward).send
        if self._cors is not None:
            headers += self._cors.on_answer(self.origin)
        message["headers"] = headers


class Bounded:
    """In place of a request's `receive`, where the body does not say how large it is."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._left = most

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise TooLargeError
        return message
