"""A running front door: its pages on a real server, watched by the real telemetry."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from aiohttp import ClientSession, CookieJar
from starlette.types import ASGIApp

from holdfast.core import web
from holdfast.core.settings import Settings
from holdfast.core.telemetry import http as telemetry
from holdfast.core.telemetry.metrics import Registry
from holdfast.core.tests.patience import PATIENCE_S
from holdfast.gateway.home import client as home
from holdfast.gateway.main import service

STARTED_AT = "2027-03-01T09:30:00+00:00"
SETTINGS = Settings.load(
    {"DATABASE_URL": "postgres://x/y", "REDIS_URL": "redis://x", "HOLDFAST_SECRET": "s" * 32}
)


@dataclass
class Door:
    """What a test has in its hands: the address, a client, and the supervisor's pen."""

    url: str
    client: ClientSession
    metrics_port: int
    run_file: Path

    def supervise(self, *processes: dict[str, Any]) -> None:
        told = {
            "started_at": STARTED_AT,
            "url": self.url,
            "data": "/srv/holdfast",
            "version": "0.1.0",
            "processes": [_process(**process) for process in processes],
        }
        self.run_file.write_text(json.dumps(told), encoding="utf-8")

    async def text(self, path: str, **headers: str) -> str:
        async with self.client.get(path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def figures(self) -> Any:
        return json.loads(await self.text("/home/figures"))


def _process(name: str, **told: Any) -> dict[str, Any]:
    usual = {"kind": "worker", "pid": 4140, "port": 8000, "metrics_port": None, "state": "running"}
    return {"name": name, **usual, "since": STARTED_AT, "restarts": 0, **told}


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE_S):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.fixture
async def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    run_file = tmp_path / "run.json"
    monkeypatch.setenv("HOLDFAST_RUN_FILE", str(run_file))
    monkeypatch.setattr(home, "TIMEOUT_S", PATIENCE_S)  # for who is there: the others refuse
    registry = Registry()
    app = telemetry.observed(web.build(SETTINGS, service(SETTINGS)), registry)
    async with (
        telemetry.exposed(0, registry) as metrics_port,
        serving(app) as url,
        ClientSession(url, cookie_jar=CookieJar(unsafe=True)) as client,  # also for an IP address
    ):
        yield Door(url, client, metrics_port, run_file)
