"""One request on its way to an upstream: its head and body as they are sent there, and its client.

The body goes out piece by piece, and the answer may begin before it is whole. Who listens for the
body also hears the client leave; then the connection to the upstream ends, and with it the work
that nobody waits for.
"""

import asyncio

from starlette.types import Receive, Scope

from holdfast.core import sse
from holdfast.gateway.connections import Connection
from holdfast.gateway.headers import asked_on
from holdfast.gateway.passage import KEY, Passage

SMALL = 64 * 1024  # bytes: the server would take as many before anybody asks for them


class LeftError(Exception):
    """The client is gone."""


class OverdueError(Exception):
    """Nothing came for as long as one was ready to wait."""


class StoppingError(Exception):
    """This process is told to stop, and a stream would not end by itself."""


class Exchange:
    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.passage: Passage = scope[KEY]
        self.method: str = scope["method"]
        self.connection: Connection | None = None
        self._scope = scope
        self._receive = receive
        headers = dict(scope["headers"])
        self._length = headers.get(b"content-length")
        self._chunked = self._length is None and b"transfer-encoding" in headers
        self.sending = self._chunked or self._length not in (None, b"0")  # more is to be sent
        self.bodiless = not self.sending
        self._listener: asyncio.Task[None] | None = None

    async def first(self) -> bytes:
        """Of the body: all of a small one, so that no connection waits for a client that is slow."""
        small = self._length is not None and int(self._length) <= SMALL
        first = await self._next() if self.sending else b""
        while small and self.sending:
            first += await self._next()
        return first

    def ask(self, connection: Connection, first: bytes) -> None:
        self.connection = connection
        connection.ask(self._head() + first, to_head=self.method == "HEAD")
        if self.sending:
            self.listen()

    def listen(self, *, end_with_process: bool = False) -> None:
        """For more of the body, and for the client to leave."""
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
        if end_with_process:
            sse.PROCESS.add(self._listener)

    def look(self, now: float) -> None:
        """Now and then, while no answer has begun."""
        if now > self.passage.deadline:
            self._fail(OverdueError())
        elif self.connection is not None:
            self.listen()

    def end(self) -> Connection | None:
        """The connection, for somebody else's request if it can be used again."""
        connection, self.connection = self.connection, None
        if self._listener is not None:
            self._listener.cancel()
        if self.sending and connection is not None:
            connection.close()
        return connection

    async def _listen(self) -> None:
        try:
            while self.sending and self.connection is not None:
                await self.connection.write(await self._next())
            # A server tells of an empty body that it is over, and after any that the client left.
            for _ in range(2):
                await self._next()
        except asyncio.CancelledError:
            self._fail(StoppingError())
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for the answer is told
            self._fail(error)

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise LeftError
        self.sending = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        if not self._chunked:
            return body
        framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return framed if self.sending else framed + b"0\r\n\r\n"

    def _fail(self, error: Exception) -> None:
        if self.connection is not None:
            self.connection.fail(error)

    def _head(self) -> bytes:
        scope = self._scope
        headers = asked_on(scope, self.passage)
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        elif self._length is not None:
            headers.append((b"content-length", self._length))
        query = scope["query_string"]
        target = b"%b?%b" % (scope["raw_path"], query) if query else scope["raw_path"]
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (self.method.encode(), target, lines)
