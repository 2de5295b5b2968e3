import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from holdfast.core import protocol
from holdfast.core.tests.serving import served
from holdfast.core.web import body_of

KILO = b"x" * 1024
GET = b"GET / HTTP/1.1\r\nHost: here\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\n"
SHORTLY_S = 20


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with what it was asked."""
    if scope["type"] != "http":
        return
    body = await body_of(receive)
    fields = {name.decode(): len(value) for name, value in scope["headers"]}
    told = json.dumps({"fields": fields, "body": len(body)}).encode()
    headers = [(b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


class Line:
    """A client that says what no honest one would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def say_without_end(self, piece: bytes) -> int:
        """Until nobody listens; how many bytes that took."""
        said = 0
        try:
            while not self.reader.at_eof():
                await self.say(piece)
                said += len(piece)
                await asyncio.sleep(0)
        except OSError:
            pass
        return said

    async def hear(self) -> tuple[int, Any]:
        """One answer."""
        async with asyncio.timeout(SHORTLY_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            return int(head.split(" ")[1]), json.loads(await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """What is heard until the connection ends, however it does."""
        heard = b""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(SHORTLY_S):
                while piece := await self.reader.read(65536):
                    heard += piece
        return heard


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.1)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with served(tell) as url:
        yield url


@asynccontextmanager
async def calling(url: str, begin: bytes = b"") -> AsyncIterator[Line]:
    """The begin is there before the server looks, so that it cannot be late."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(begin)
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (GET + b"X-Endless: ", KILO),
        (GET, b"X-Field: %b\r\n" % KILO),
        (GET, b"X-F: y\r\n"),
        (GET, b"X"),
        (b"GET /", KILO),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ", KILO),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: y\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;extension=", KILO),
    ],
)
async def test_a_head_without_end_is_not_read_to_its_end(
    url: str, begin: bytes, more: bytes
) -> None:
    async with asyncio.timeout(SHORTLY_S), calling(url) as line:
        await line.say(begin)
        said = await line.say_without_end(more * (4096 // len(more) + 1))
    assert said < 16 * 1024 * 1024  # what lies in the buffers of both kernels


@pytest.mark.parametrize("size", [8, 15, 16, 200])
async def test_a_head_is_read_up_to_its_limit(url: str, size: int) -> None:
    """In one piece, in many, and after another request on the same connection."""
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 1018) for number in range(size))
    fits = len(fields) < protocol.LARGEST_HEAD
    for before, pieces in [
        (0, [GET + fields + b"\r\n"]),
        (0, [GET, *fields.splitlines(keepends=True), b"\r\n"]),
        (1, [POST + b"Content-Length: 5\r\n\r\n12345" + GET + fields + b"\r\n"]),
    ]:
        async with calling(url) as line:
            await line.say(*pieces)
            for _ in range(before):
                assert (await line.hear())[1]["body"] == 5
            if fits:
                assert (await line.hear())[0] == 200
            elif not before:  # while an earlier one is being answered it cannot be told
                status, told = await line.hear()
                assert (status, told["type"]) == (431, "/problems/head-too-large")
            else:
                assert b" 200 " not in await line.rest()


async def test_no_more_fields_are_read_than_anybody_needs(url: str) -> None:
    for number, status in [(protocol.MOST_FIELDS - 1, 200), (protocol.MOST_FIELDS, 431)]:
        async with calling(url) as line:
            await line.say(GET + b"X: y\r\n" * number + b"\r\n")
            assert (await line.hear())[0] == status


async def test_what_is_no_http_is_told_so_as_a_problem(url: str) -> None:
    async with calling(url) as line:
        await line.say(b"HELO here\r\n\r\n")
        status, told = await line.hear()
        assert (status, told["type"]) == (400, "/problems/unreadable")
        assert not await line.rest()


async def test_a_trailer_is_nobodys_header(url: str) -> None:
    async with calling(url) as line:
        chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        await line.say(chunked + b"0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
        status, told = await line.hear()
    assert (status, told["body"]) == (200, 3)
    assert set(told["fields"]) == {"host", "transfer-encoding"}


async def test_a_head_that_does_not_come_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.05)
    for before, begin in [(b"", b""), (b"", GET), (GET + b"\r\n", GET)]:
        async with calling(url, before) as line:
            if before:
                assert (await line.hear())[0] == 200
            await line.say(begin)
            assert not await line.rest()


async def test_a_body_may_come_slowly(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.05)
    async with calling(url, POST + b"Transfer-Encoding: chunked\r\n\r\n") as line:
        await line.say(b"3\r")
        await asyncio.sleep(0.2)
        await line.say(b"\nabc\r\n0\r\n\r\n")
        assert (await line.hear())[1]["body"] == 3
