import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from holdfast.core.tests.serving import served

SHORTLY_S = 20
LENGTH = (b"content-length", b"10")


@asynccontextmanager
async def asked(url: str, request: bytes) -> AsyncIterator[asyncio.StreamReader]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(SHORTLY_S):
            yield reader
    finally:
        writer.close()


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        await send({"type": "http.response.body", "body": b"0123456789"})


async def test_a_head_and_its_body_leave_together() -> None:
    async with served(tell) as url:
        for _ in range(100):
            async with asked(url, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n") as reader:
                heard = await reader.read(1024)
                assert heard.endswith(b"\r\n\r\n0123456789")


async def test_a_head_does_not_wait_for_a_body_that_comes_late() -> None:
    heard = asyncio.Event()

    async def tell_by_and_by(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
            await heard.wait()
            for part in (b"01", b"2345", b"6789"):
                heard.clear()
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await heard.wait()
            await send({"type": "http.response.body"})

    async with (
        served(tell_by_and_by) as url,
        asked(url, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n") as reader,
    ):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for part in (b"01", b"2345", b"6789"):
            heard.set()
            assert await reader.readexactly(len(part)) == part
        heard.set()


async def test_a_head_alone_leaves_as_well_and_in_its_turn() -> None:
    lines = b" / HTTP/1.1\r\nHost: here\r\n"
    asking = b"HEAD%b\r\nGET%b\r\nHEAD%bConnection: close\r\n\r\n" % (lines, lines, lines)
    async with served(tell) as url, asked(url, asking) as reader:
        first, second, third, rest = (await reader.read()).split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200")
    assert third.startswith(b"0123456789HTTP/1.1 200")
    assert not rest
