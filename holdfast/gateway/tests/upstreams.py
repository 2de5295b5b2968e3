"""Upstreams as a test wants them, on real sockets, and a front door that leads to one of them."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.core import breaker as breakers
from holdfast.core.errors import ProblemError
from holdfast.core.tests.patience import PATIENCE_S
from holdfast.core.tests.serving import served
from holdfast.core.web import problem_response
from holdfast.gateway.passage import KEY, Passage
from holdfast.gateway.remote import Remote
from holdfast.gateway.table import Breaker, Retries, Route, Table

END = b"\r\n\r\n"
REQUEST_ID = "the-id"
CLIENT = "192.0.2.7"


@dataclass
class Asked:
    """One request as it arrived, and the connection on which to answer, or not to."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: int

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.removesuffix(END).split(b"\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]

    def all(self, wanted: bytes) -> list[bytes]:
        return [value for name, value in self.headers if name == wanted]

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self, body: bytes = b"", status: str = "200 OK", *headers: bytes) -> None:
        lines = (b"HTTP/1.1 " + status.encode(), *headers, b"content-length: %d" % len(body))
        await self.say(b"\r\n".join(lines) + END + body)

    def hang_up(self) -> None:
        """As a process that dies: the connection is reset, not closed."""
        at_once = struct.pack("ii", 1, 0)
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.transport.abort()

    async def left(self) -> None:
        """Until the other side has closed the connection."""
        with suppress(ConnectionError):
            await self.reader.read()


Answer = Callable[[Asked], Awaitable[None]]


@dataclass
class Upstream:
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    @classmethod
    @asynccontextmanager
    async def of(cls, answer: Answer, **options: Any) -> AsyncIterator["Upstream"]:
        upstream = cls()
        serving: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            serving.add(task)
            task.add_done_callback(serving.discard)
            upstream.connections += 1
            number = upstream.connections
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    asked = Asked(await reader.readuntil(END), reader, writer, number)
                    upstream.asked.append(asked)
                    await answer(asked)
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
        scheme = "https" if "ssl" in options else "http"
        upstream.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield upstream
        finally:
            server.close()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving)


ROUTE = Route(
    path="/",
    upstream="test",
    access="public",
    timeout_s=PATIENCE_S,
    largest_body=0,
    limits=(),
)
TABLE = Table(
    routes=(ROUTE,),
    limits={},
    breaker=Breaker(window_s=60, least_calls=1_000, open_at=0.5, open_for_s=30, probes=1),
    retries=Retries(methods=frozenset({"GET", "PUT"}), most=1, budget=1),
)


@dataclass
class Clock:
    """The breaker's time, which stands still until it is told to pass."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def front(remote: ASGIApp, begin_s: float, **terms: Any) -> ASGIApp:
    """What the door does for an upstream, and no more. The time until an answer begins is told apart:
    a test of what comes after is not to meet its end.
    """
    route = msgspec.structs.replace(ROUTE, **terms)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] != "lifespan", "the server goes on without"
        scope[KEY] = Passage(route, REQUEST_ID, CLIENT, time.monotonic() + begin_s)
        try:
            await remote(scope, receive, send)
        except ProblemError as problem:
            await problem_response(problem)(scope, receive, send)

    return app


@asynccontextmanager
async def before(
    url: str,
    *,
    begin_s: float = PATIENCE_S,
    breaker: Mapping[str, Any] = {},
    clock: Callable[[], float] = time.monotonic,
    retries: Mapping[str, Any] = {},
    **terms: Any,
) -> AsyncIterator[str]:
    """The address of a door before the upstream at `url`."""
    table = msgspec.structs.replace(
        TABLE,
        breaker=msgspec.structs.replace(TABLE.breaker, **breaker),
        retries=msgspec.structs.replace(TABLE.retries, **retries),
    )
    remote = Remote("test", url, table)
    remote._breaker = breakers.Breaker(**msgspec.structs.asdict(table.breaker), clock=clock)
    async with remote.open(), served(front(remote, begin_s, **terms)) as address:
        yield address


async def talk(url: str, *pieces: bytes) -> bytes:
    """Send bytes, and read whatever comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def get(target: str = "/", *headers: str, method: str = "GET") -> bytes:
    lines = (f"{method} {target} HTTP/1.1", "Host: shop.example", "Connection: close", *headers)
    return "\r\n".join(lines).encode() + END


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
