import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from aiohttp import ClientSession
from starlette.types import ASGIApp

from holdfast.core import web
from holdfast.core.settings import Settings
from holdfast.gateway.main import service

URL = "http://127.0.0.1:8000"


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """The app behind a real server on a port of its own."""
    config = uvicorn.Config(app, port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


@pytest.fixture
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes what a supervisor would write, and tells the front door where it is."""
    path = tmp_path / "run.json"
    monkeypatch.setenv("HOLDFAST_RUN_FILE", str(path))

    def write(*processes: dict[str, Any]) -> Path:
        told = {
            "started_at": "2027-03-01T09:30:00+00:00",
            "url": URL,
            "data": "/srv/holdfast",
            "version": "0.1.0",
            "processes": [process_of(**process) for process in processes],
        }
        path.write_text(json.dumps(told), encoding="utf-8")
        return path

    return write


def process_of(name: str, **told: Any) -> dict[str, Any]:
    usual = {
        "kind": "worker",
        "pid": 4140,
        "port": 8000,
        "metrics_port": None,
        "state": "running",
        "since": "2027-03-01T09:30:00+00:00",
        "restarts": 0,
    }
    return {"name": name, **usual, **told}


@pytest.fixture
async def open_door() -> AsyncIterator[Callable[[], Awaitable[ClientSession]]]:
    """A client of the front door's pages, started when the test has prepared what they show."""
    settings = Settings.load({"DATABASE_URL": "postgres://x/y", "REDIS_URL": "redis://x"})
    async with serving(web.build(settings, service(settings))) as port, ClientSession(
        f"http://127.0.0.1:{port}"
    ) as client:

        async def opened() -> ClientSession:
            return client

        yield opened
