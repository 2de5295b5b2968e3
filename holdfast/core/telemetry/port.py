"""A port for machines that watch: a handful of pages, one answer a connection, nothing else.

It shares the event loop with the application but none of its code, so that it can be read while
the application is in trouble, and is never reachable where the application is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

Page = tuple[str, Callable[[], bytes]]

PATIENCE_S = 5
LARGEST_HEAD = 8 * 1024
GONE = (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@asynccontextmanager
async def listening(host: str, port: int, pages: Mapping[str, Page]) -> AsyncIterator[int]:
    """Answers GET for the pages' paths (type and content) and 404 otherwise; yields the port."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(*GONE):
            async with asyncio.timeout(PATIENCE_S):
                writer.write(_answer(await reader.readuntil(b"\r\n\r\n"), pages))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, host, port, limit=LARGEST_HEAD)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _answer(head: bytes, pages: Mapping[str, Page]) -> bytes:
    method, target = [*head.split(b" ", 2), b"", b""][:2]
    page = pages.get(target.partition(b"?")[0].decode("latin-1"))
    if method != b"GET" or page is None:
        return _response("404 Not Found", "text/plain", b"Here are: " + " ".join(pages).encode())
    kind, content = page
    return _response("200 OK", kind, content())


def _response(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
