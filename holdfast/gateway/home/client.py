"""Asks the supervisor's run file and the workers' metrics ports how things stand.

The run file names the processes; each worker tells its own figures on 127.0.0.1. Without a run
file (one process, started by hand) only this process is known. Nothing is kept between calls.
"""

import asyncio
import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import msgspec

from holdfast.core.settings import Settings
from holdfast.gateway.home.schemas import Process, Run, WorkerFigures

TIMEOUT_S = 0.5

# Workers are on this machine: a proxy named in the environment is not for them.
_opener = build_opener(ProxyHandler({}))


class Supervisor:
    def __init__(self, run_file: str | None, settings: Settings) -> None:
        self.run_file = Path(run_file) if run_file else None
        self.settings = settings
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")

    def run(self) -> Run:
        try:
            told = self.run_file.read_bytes() if self.run_file else None
        except FileNotFoundError:  # the supervisor removes it as its last act
            told = None
        return msgspec.json.decode(told, type=Run) if told else self._alone()

    async def figures(self, run: Run) -> dict[str, WorkerFigures | None]:
        """By worker's name; `None` for one that does not answer."""
        return {name: _decoded(told) for name, told in (await self._ask(run, "/figures")).items()}

    async def metrics(self, run: Run) -> dict[str, str | None]:
        """The same for what Prometheus would read."""
        told = await self._ask(run, "/metrics")
        return {name: body.decode() if body else None for name, body in told.items()}

    async def _ask(self, run: Run, page: str) -> dict[str, bytes | None]:
        asked = [each for each in run.processes if each.kind == "worker" and each.metrics_port]
        told = await asyncio.gather(*(_fetch(process.metrics_port, page) for process in asked))
        return {process.name: one for process, one in zip(asked, told, strict=True)}

    def _alone(self) -> Run:
        process = Process(
            name="this process",
            kind="worker",
            state="running",
            pid=os.getpid(),
            since=self._started_at,
        )
        return Run(
            self._started_at, self.settings.origin, version("holdfast"), [process], supervised=False
        )


async def _fetch(port: int | None, page: str) -> bytes | None:
    try:
        return await asyncio.to_thread(_get, f"http://127.0.0.1:{port}{page}")
    except OSError:
        return None


def _decoded(told: bytes | None) -> WorkerFigures | None:
    try:
        return msgspec.json.decode(told, type=WorkerFigures) if told else None
    except msgspec.DecodeError:
        return None


def _get(url: str) -> bytes:
    with _opener.open(url, timeout=TIMEOUT_S) as answer:
        body: bytes = answer.read()
    return body
