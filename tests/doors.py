"""Two front doors of one table, each a real process, and an upstream that does as it is told.

The upstream speaks HTTP by hand: it keeps what it was asked byte for byte, reads strictly, and can
answer anything, also what no server would.
"""

import asyncio
import json
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from click.testing import CliRunner
from multidict import CIMultiDictProxy
from websockets.asyncio.server import ServerConnection, serve

from holdfast.cli.main import main
from holdfast.cli.servers import free_port
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import worker

TABLE = Path(__file__).with_name("doors.toml")
FRIEND = "https://friend.example"  # whose pages may use the API
SHORTLY_S = 60
LAST_CHUNK = b"0\r\n\r\n"
ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or "envoy"

Headers = list[tuple[str, str]]


# -- The upstream


@dataclass
class Exchange:
    """One request, as it came, and the means to answer it."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    read: bytes = b""
    whole: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def headers(self) -> Headers:
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return [
            (name.lower(), value.strip())
            for name, _, value in (one.partition(":") for one in lines)
        ]

    def header(self, name: str) -> str | None:
        """Its one value; a header that comes twice is an error."""
        found = [value for key, value in self.headers if key == name.lower()]
        assert len(found) <= 1, found
        return found[0] if found else None

    async def body(self) -> bytes:
        async for piece in self.pieces():
            self.read += piece
        return self.read

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        if self.header("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readuntil(b"\r\n")
        else:
            left = int(self.header("content-length") or 0)
            while left:
                piece = await self.reader.read(min(left, 65536))
                if not piece:
                    raise asyncio.IncompleteReadError(piece, left)
                left -= len(piece)
                yield piece
        self.whole = True

    async def answer(self, status: int = 200, body: bytes = b"", *headers: str) -> None:
        told = [f"HTTP/1.1 {status} As Told", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join(told).encode("latin-1") + b"\r\n\r\n" + body)

    async def begin(self, *headers: str) -> None:
        """An answer in chunks, which ends with `LAST_CHUNK`."""
        told = ["HTTP/1.1 200 As Told", "Transfer-Encoding: chunked", *headers]
        await self.send("\r\n".join(told).encode() + b"\r\n\r\n")

    async def chunk(self, piece: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Exchange], Awaitable[None]]


async def agree(exchange: Exchange) -> None:
    await exchange.body()
    await exchange.answer(200, b"" if exchange.method == "HEAD" else b"done")


@dataclass
class Upstream:
    url: str
    scripts: dict[str, Script] = field(default_factory=dict)
    asked: list[Exchange] = field(default_factory=list)
    misread: list[bytes] = field(default_factory=list)  # what was no request

    def for_path(self, path: str) -> list[Exchange]:
        return [one for one in self.asked if one.target.split("?")[0] == path]

    def last(self, path: str) -> Exchange:
        return self.for_path(path)[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            try:
                while await self._serve_one(reader, writer):
                    pass
            except asyncio.IncompleteReadError:
                pass  # a body that was given up
            except (ValueError, IndexError) as error:
                self.misread.append(repr(error).encode())
            writer.close()
            await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self.misread.append(error.partial)
            return False
        exchange = Exchange(head, reader, writer)
        self.asked.append(exchange)
        try:
            await self.scripts.get(exchange.target.split("?")[0], agree)(exchange)
        finally:
            exchange.gone.set()
        return exchange.whole and not writer.is_closing()


@asynccontextmanager
async def upstream_as_told() -> AsyncIterator[Upstream]:
    told = Upstream("")
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(told.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield told
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def echo_of_sockets() -> AsyncIterator[str]:
    """Says what it hears; told to end, it ends with that code."""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            if isinstance(message, str) and message.startswith("end with "):
                await socket.close(int(message.split()[-1]))
                return
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


# -- The doors


def environment(issuer: Issuer, upstreams: Mapping[str, str]) -> dict[str, str]:
    """What both doors are told."""
    return {
        "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
        "HOLDFAST_ORIGIN": issuer.url,
        "HOLDFAST_GATEWAY_TABLE": str(TABLE),
        "HOLDFAST_GATEWAY_UPSTREAMS": ",".join(f"{name}={at}" for name, at in upstreams.items()),
        "HOLDFAST_GATEWAY_CORS_ORIGINS": FRIEND,
    }


@dataclass(frozen=True)
class Door:
    name: str
    url: str

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        at = urlsplit(self.url)
        return await asyncio.open_connection(at.hostname, at.port)

    async def say(self, *pieces: bytes) -> bytes:
        """Send these bytes and read until the door closes, or has said its last word: after that it
        may wait a second for us to close.
        """
        reader, writer = await self.open()
        try:
            with suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            heard = b""
            async with asyncio.timeout(SHORTLY_S):
                with suppress(ConnectionError):
                    while not _is_last(heard) and (piece := await reader.read(65536)):
                        heard += piece
            return heard
        finally:
            writer.close()


def _is_last(heard: bytes) -> bool:
    head, end, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    closes = re.search(rb"\r\nconnection: close", head, re.IGNORECASE)
    return bool(end and closes and length and len(body) >= int(length[1]))


@asynccontextmanager
async def holdfast_door(environ: Mapping[str, str]) -> AsyncIterator[Door]:
    async with worker("gateway", environ) as (url, _):
        yield Door("holdfast", url)


@asynccontextmanager
async def envoy_door(environ: Mapping[str, str], folder: Path) -> AsyncIterator[Door]:
    port = free_port()
    rendered = CliRunner(env=environ).invoke(
        main, ["gateway", "render", "envoy", "--listen", str(port)], catch_exceptions=False
    )
    assert rendered.exit_code == 0, rendered.output
    file = folder / "envoy.yaml"
    file.write_text(rendered.stdout, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(ENVOY, "-c", str(file), "--disable-hot-restart"),
        *("--concurrency", "1", "--log-level", "error"),
    )
    try:
        await _until_it_listens(port, process)
        yield Door("envoy", f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_it_listens(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(SHORTLY_S):
        while process.returncode is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return
            await asyncio.sleep(0.05)
    raise RuntimeError(f"Envoy ended with status {process.returncode}.")


# -- A case


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["Content-Type"] == "application/problem+json"
        told: dict[str, Any] = json.loads(self.body)
        assert told["status"] == self.status
        assert told["type"].startswith("/problems/")
        assert told["title"]
        assert told["detail"]
        return told


@dataclass(frozen=True)
class Here:
    """What a case has in its hands."""

    door: Door
    http: aiohttp.ClientSession
    upstream: Upstream
    other: Upstream
    issuer: Issuer

    async def ask(
        self, method: str, path: str, data: Any = None, token: str | None = None, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.http.request(
            method, self.door.url + path, data=data, headers=sent, allow_redirects=False
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())
