"""HTTP/1.1 connections to one upstream: kept open between exchanges, one exchange at a time on each.

No client library is used, because a front door needs little of one and that little exactly: the
address goes out byte for byte as the table was asked about it (libraries resolve `..` and `%2e`,
and end at another one), nothing is decompressed, followed or remembered, and it is known whether a
byte of the answer has come. It also costs less than the quickest library; the parser is llhttp.

An answer is read no faster than it is taken, a body sent no faster than it is read. What ends
early, is no HTTP, or could be read in two ways is an error and never an answer that looks whole.
Informational answers (1xx) are passed over, trailers dropped. There is no pipelining and no HTTP/2.
"""

import asyncio
import ssl
import time
from typing import cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from holdfast.gateway.headers import Header

LARGEST_HEAD = 64 * 1024
READ_AHEAD = 64 * 1024  # bytes of a body that wait for their reader before no more are read
KEPT_IDLE = 256
# Services of ours hang up after 5 s; a request that is sent as they do so would be lost.
IDLE_S = 4.0
FIRST_STATUS, LAST_STATUS = 200, 599


class ConnectionLostError(Exception):
    """The upstream hung up, or what it sent is no answer."""


class Connection(asyncio.Protocol):
    """After `ask`: `answered`, then `piece` until there is no more; `write` for more of the body."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None  # to write, while there is none
        self._done = True  # there is no exchange, or its answer is whole
        self._lasting = True  # it can be used again
        self._paused = False
        self._error: Exception | None = None
        self.idle_since = 0.0

    # -- For whoever asks --

    def ask(self, request: bytes, *, to_head: bool) -> None:
        """Send the head, and of the body what there is. The answer to a HEAD is only its head."""
        self._to_head = to_head
        self._until_end = True  # a body goes on to the end of the connection, unless it says more
        self._done = False
        self._head_size = 0
        self._begun = False
        self._parts: list[bytes] = []
        self._waiting_size = 0
        self.status = 0
        self.headers: list[Header] = []
        self._transport.write(request)

    async def answered(self) -> None:
        """Until status and headers are there."""
        while not self._begun:
            if self._error:
                raise self._error
            await self._wait()

    async def piece(self) -> tuple[bytes, bool]:
        """What has come of the body since, and whether there is more to come."""
        while not (self._parts or self._done):
            if self._error:
                raise self._error
            await self._wait()
        taken = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._waiting_size = 0
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return taken, not self._done

    async def write(self, data: bytes) -> None:
        self._transport.write(data)
        if self._room:
            await self._room

    def fail(self, error: Exception) -> None:
        """End it; whoever waits gets this error, or the one that came first."""
        self._error = self._error or error
        self._lasting = False
        self._transport.abort()
        self._wake()

    def close(self) -> None:
        self._lasting = False
        self._transport.abort()

    @property
    def whole(self) -> bool:
        """All of the answer has come."""
        return self._done

    @property
    def reusable(self) -> bool:
        return self._done and self._lasting and not self._paused

    # -- For the event loop --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._done:  # nobody asked
            self.fail(ConnectionLostError("It spoke without being asked."))
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:  # nobody asked for an upgrade
            self.fail(ConnectionLostError(f"It does not speak HTTP: {error!r}"))
            return
        if not self._begun:
            self._head_size += len(data)
            if self._head_size > LARGEST_HEAD:
                self.fail(ConnectionLostError("Its headers have no end."))
        elif self._waiting_size > READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if self._begun:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lasting = False
        if not self._done:
            if self._begun and self._until_end and exc is None and self._error is None:
                self._done = True
            else:
                self._error = self._error or ConnectionLostError("It hung up.")
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # -- For the parser --

    def on_message_begin(self) -> None:
        if self._done:
            raise ConnectionLostError("It says more than it was asked for.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._begun:
            return  # a trailer
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._until_end = False
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < FIRST_STATUS:
            return
        if status > LAST_STATUS:
            raise ConnectionLostError(f"There is no status {status}.")
        self.status = status
        self._begun = True
        self._lasting = self._parser.should_keep_alive()
        if self._to_head:
            self._done = True
            self._parser = HttpResponseParser(self)  # the old one waits for the body

    def on_body(self, body: bytes) -> None:
        if self._to_head:
            self._lasting = False
            return
        self._parts.append(body)
        self._waiting_size += len(body)

    def on_message_complete(self) -> None:
        if self._begun:
            self._done = True
        else:
            self.headers.clear()  # of an informational answer
            self._until_end = True

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter


class Connections:
    """All to one upstream. How many may be in use at once is the business of whoever takes them."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        secure = at.scheme == "https"
        self.host = at.hostname or ""
        self.port = at.port or (443 if secure else 80)
        self.ssl = ssl.create_default_context() if secure else None
        self._idle: list[Connection] = []

    async def take(self, deadline: float, *, fresh: bool = False) -> Connection:
        """The one that was used last, for it is the farthest from its end; or a new one."""
        now = time.monotonic()
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.reusable and now < connection.idle_since + IDLE_S:
                return connection
            connection.close()
        async with asyncio.timeout(deadline - now):
            _, made = await asyncio.get_running_loop().create_connection(
                Connection, self.host, self.port, ssl=self.ssl
            )
        return made

    def give_back(self, connection: Connection) -> None:
        if connection.reusable and len(self._idle) < KEPT_IDLE:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()
