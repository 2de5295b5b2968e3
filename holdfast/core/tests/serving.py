"""A service as its clients see it: over HTTP, on a real server, in this process or in others."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Self

import aiohttp
import uvicorn
from starlette.types import ASGIApp

from holdfast.core.protocol import BoundedProtocol
from holdfast.core.sockets import LARGEST_MESSAGE, WebSockets

START_TIMEOUT_S = 30
KEPT_S = 2


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        return self.body["data"]


@dataclass
class Client:
    """One worker. `headers` go with every call, to come from another address or device."""

    url: str
    http: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Self]:
        # A worker closes what was idle for five seconds, maybe at the moment when it is used again.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        ) as http:
            yield cls(url, http)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] = {},
        data: bytes | None = None,
    ) -> Answer:
        sent = {**self.headers, **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.http.request(
            method, self.url + path, json=body, data=data, headers=sent
        ) as response:
            text = await response.read()
            told = await response.json(content_type=None) if text else None
            return Answer(response.status, told, response.headers)


class Server(uvicorn.Server):
    """Stops when it is told to, and not at its next look at the clock."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told_to_stop = asyncio.Event()

    async def main_loop(self) -> None:
        await self.told_to_stop.wait()


@asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve in this process and loop; answers the address."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws=WebSockets,
        ws_max_size=LARGEST_MESSAGE,
        ws_per_message_deflate=False,
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = Server(config)
    serving = asyncio.create_task(server._serve([listening]))
    while not server.started:
        if serving.done():
            serving.result()
            raise RuntimeError("The application did not start; see the log.")
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.told_to_stop.set()
        await serving


@asynccontextmanager
async def worker(
    app: str,
    environ: Mapping[str, str],
    stderr: IO[bytes] | None = None,
    port: int = 0,
    *,
    grpc_port: int | None = None,
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Serve an app in a process of its own; answers the address and the process."""
    also = ("--grpc-port", str(grpc_port)) if grpc_port else ()
    with socket.create_server(("127.0.0.1", port)) as listening:
        fd = listening.fileno()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast.cli.main", "serve", app, "--fd", str(fd), *also),
            pass_fds=[fd],
            stderr=stderr,
            env={**os.environ, **environ},
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        await _until_ready(url, process)
        yield url, process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession() as http:
        while process.returncode is None:
            try:
                async with http.get(f"{url}/health/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"The worker ended with status {process.returncode}.")
