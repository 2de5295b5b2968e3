"""Identity as its clients see it: over HTTP, on a real server, in this process or in others."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import IO, Any, Self

import aiohttp
import uvicorn
from starlette.types import ASGIApp

PASSWORD = "correct horse battery staple"
START_TIMEOUT_S = 30
_numbers = count(1)


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        return self.body["data"]


@dataclass(frozen=True)
class Account:
    email: str
    password: str
    access: str
    refresh: str
    device: str


@dataclass
class Api:
    """One worker. `headers` go with every call, to come from another address or device."""

    url: str
    http: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Self]:
        connector = aiohttp.TCPConnector(limit=0)
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

    async def login(self, email: str, password: str = PASSWORD, device: str = "") -> Answer:
        body = {"email": email, "password": password}
        cookie = {"Cookie": f"holdfast_device={device}"} if device else {}
        return await self.call("POST", "/api/v1/auth/login", body, headers=cookie)

    async def sign_in(self, email: str, password: str = PASSWORD) -> Account:
        answer = await self.login(email, password)
        assert answer.status == 200, answer.body
        device = answer.headers["Set-Cookie"].split(";")[0].removeprefix("holdfast_device=")
        return Account(
            email, password, answer.data["access_token"], answer.data["refresh_token"], device
        )

    async def sign_up(self, email: str | None = None, password: str = PASSWORD) -> Account:
        address = email or f"person{next(_numbers)}@example.com"
        body = {"email": address, "password": password}
        answer = await self.call("POST", "/api/v1/auth/register", body)
        assert answer.status == 201, answer.body
        return await self.sign_in(address, password)

    async def me(self, account: Account | str) -> Answer:
        token = account if isinstance(account, str) else account.access
        return await self.call("GET", "/api/v1/users/me", token=token)

    async def refresh(self, refresh_token: str) -> Answer:
        return await self.call("POST", "/api/v1/auth/refresh", {"refresh_token": refresh_token})


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
        app, log_config=None, ws="none", proxy_headers=False, timeout_graceful_shutdown=2
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
    environ: Mapping[str, str], stderr: IO[bytes] | None = None
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Serve in a process of its own; answers the address and the process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast.cli.main", "serve", "identity", "--fd", str(fd)),
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
