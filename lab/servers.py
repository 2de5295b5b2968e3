"""What is measured: real servers with a fresh, migrated database, and workers as processes.

PostgreSQL and Valkey are those of `holdfast up`, durable, on the servers' core; a worker is
`holdfast serve` of one app, with the rate limits off. Whatever else answers HTTP here is served by
`lab.peers.serve` with the same options, so that only the application differs. Nothing outlives the
block that started it.
"""

import asyncio
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from holdfast.cli.servers import Running, free_port, postgres, running, valkey
from holdfast.core import manifest
from holdfast.core.migrate import migrate
from lab.machine import CORES, SERVER_CORE, on

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
START_TIMEOUT_S = 60
POSTGRES = {"max_connections": "300", "max_wal_size": "4GB"}  # 4 GB: no checkpoint in mid-round
ON_ONE_CORE = (SERVER_CORE,)
IDENTITY = "identity"
_numbers = count(1)


@dataclass(frozen=True)
class Stack:
    """The two servers; a benchmark takes a database of its own from them."""

    postgres: Running
    valkey: Running

    @contextmanager
    def database(self, *apps: str) -> Iterator[dict[str, str]]:
        """The environment of workers that use a fresh database, migrated for these apps."""
        server_url, name = self.postgres.server.url, f"bench_{next(_numbers)}"
        url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        asyncio.run(execute(server_url, f"CREATE DATABASE {name}"))
        try:
            for app in apps or (IDENTITY,):
                asyncio.run(migrate(url, manifest.find(app)))
            yield {
                "DATABASE_URL": url,
                "REDIS_URL": self.valkey.server.url,
                "HOLDFAST_SECRET": "known to whoever reads the benchmarks",
                "HOLDFAST_LIMITS": "off",
                "HOLDFAST_ORIGIN": "http://localhost:8000",
                "HOLDFAST_DB_POOL_MIN": "1",
            }
        finally:
            asyncio.run(execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))

    @contextmanager
    def spread(self) -> Iterator[None]:
        """PostgreSQL on all cores meanwhile, as far as its connections are new."""
        os.sched_setaffinity(self.postgres.pid, CORES)
        try:
            yield
        finally:
            os.sched_setaffinity(self.postgres.pid, ON_ONE_CORE)

    @property
    def watched(self) -> dict[str, int]:
        return {"postgres": self.postgres.pid, "valkey": self.valkey.pid}


class NotReadyError(Exception):
    """A process does not answer; what it said goes to stderr."""


@dataclass(frozen=True)
class Served:
    """A process that answers HTTP."""

    port: int
    pid: int


@contextmanager
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-lab-"))
    try:
        with (
            on(*ON_ONE_CORE),
            running(postgres(folder / "postgres", free_port(), POSTGRES)) as database,
            running(valkey(folder / "valkey", free_port())) as redis,
        ):
            yield Stack(database, redis)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def earlier_tree(commit: str) -> Iterator[Path]:
    """The repository as it was then, unpacked from its history."""
    git, tar = ("/usr/bin/env", "git"), ("/usr/bin/env", "tar")
    packed = subprocess.run([*git, "archive", commit], cwd=ROOT, capture_output=True, check=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-lab-") as folder:
        subprocess.run([*tar, "-x", "-C", folder], input=packed.stdout, check=True)
        yield Path(folder)


@contextmanager
def worker(
    environ: Mapping[str, str],
    cores: tuple[int, ...] = ON_ONE_CORE,
    tree: Path = ROOT,
    app: str = IDENTITY,
    options: Sequence[str] = (),
) -> Iterator[Served]:
    """`holdfast serve APP`: one process, of this tree's code or another's."""
    command = [sys.executable, "-m", "holdfast.cli.main", "serve", app, *options]
    with _served(command, environ, cores, ready="/health/ready", tree=tree) as served:
        yield served


@contextmanager
def jobs(
    environ: Mapping[str, str], cores: tuple[int, ...] = ON_ONE_CORE, app: str = IDENTITY
) -> Iterator[Served]:
    """`holdfast jobs APP`: one process; its port is that of its metrics."""
    command = [sys.executable, "-m", "holdfast.cli.main", "jobs", app]
    with _served(command, environ, cores, ready="/metrics", port_is="--metrics-port") as served:
        yield served


@contextmanager
def application(
    path: str,
    environ: Mapping[str, str],
    python: Path | None = None,
    ready: str = "/",
    cores: tuple[int, ...] = ON_ONE_CORE,
) -> Iterator[Served]:
    """Any ASGI application: one of ours, or one of others with a Python of its own."""
    command = [str(python or sys.executable), "-m", "lab.peers.serve", path]
    command += ["--plain"] if python else []
    with _served(command, environ, cores, ready=ready) as served:
        yield served


@contextmanager
def module(
    name: str, environ: Mapping[str, str], cores: tuple[int, ...] = ON_ONE_CORE
) -> Iterator[Served]:
    """A program of the lab's own that serves by itself; it takes --port."""
    command = [sys.executable, "-m", name]
    with _served(command, environ, cores, ready="/health/ready") as served:
        yield served


@contextmanager
def _served(
    command: list[str],
    environ: Mapping[str, str],
    cores: tuple[int, ...],
    ready: str,
    tree: Path = ROOT,
    *,
    port_is: str = "--port",
) -> Iterator[Served]:
    port = free_port()
    with tempfile.TemporaryFile() as log, on(*cores):
        process = subprocess.Popen(
            [*command, port_is, str(port)],
            cwd=tree,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            until_ready(port, ready, process)
        except NotReadyError:
            process.kill()
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
    try:
        yield Served(port, process.pid)
    finally:
        process.send_signal(signal.SIGCONT)  # a paused one would not hear
        process.terminate()
        process.wait()


def until_ready(port: int, path: str, process: "subprocess.Popen[bytes]") -> None:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < give_up_at:
        if answers(port, path):
            return
        time.sleep(0.01)
    raise NotReadyError(f"{process.args!r} did not become ready (status {process.poll()}).")


def answers(port: int, path: str) -> bool:
    with suppress(OSError, http.client.HTTPException):
        asked = http.client.HTTPConnection(HOST, port, timeout=START_TIMEOUT_S)
        try:
            asked.request("GET", path)
            return asked.getresponse().status == HTTPStatus.OK
        finally:
            asked.close()
    return False


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
