"""`holdfast up`: everything on this machine, from nothing to a page that can be opened.

Servers first, then migrations and demo data, then workers and background jobs; all under one
supervisor, and gone together. It is for a laptop, a test or one small machine: a large
installation starts the same processes under its own orchestrator.
"""

import asyncio
import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.cli.child import Child, Program
from holdfast.cli.data_folder import (
    ENVIRONMENT_NAME,
    RUN_NAME,
    DataFolderError,
    data_folder,
    kept_secret,
    write_environment,
)
from holdfast.cli.listener import listen
from holdfast.cli.run_file import RunFile
from holdfast.cli.servers import Server, free_port, postgres, valkey
from holdfast.cli.supervisor import Supervisor
from holdfast.cli.tether import argv
from holdfast.core import manifest
from holdfast.core.migrate import migrate
from holdfast.core.settings import Settings

HOST = "127.0.0.1"
NAME = "localhost"  # what people open: a passkey belongs to a name, never to an address
CONNECTIONS = 1000  # room for the largest profile's pools; an unused one costs next to nothing
EXPORTED = ("DATABASE_URL", "REDIS_URL", "HOLDFAST_SECRET", "HOLDFAST_ORIGIN", "HOLDFAST_PROFILE")
Account = tuple[str, str, str]  # role, e-mail, password


def up(*, port: int, data: Path | None, workers: int | None) -> None:
    """Until it is told to stop; raises what kept it from running."""
    with data_folder(data) as folder, listen(port, HOST) as listening:
        servers, environ = _surroundings(folder, port, kept=data is not None)
        if workers:
            environ["HOLDFAST_WORKERS"] = str(workers)
        settings = Settings.load(environ)
        companions = _companions(settings, environ)
        house = House(
            folder, port, listening, servers, companions, environ, settings, kept=data is not None
        )
        asyncio.run(house.run())


def _surroundings(folder: Path, port: int, *, kept: bool) -> tuple[list[Server], dict[str, str]]:
    """The servers that are ours to start, and the environment of everything that uses them."""
    environ = dict(os.environ)
    servers = []
    if not environ.get("DATABASE_URL"):
        settings = {"max_connections": str(CONNECTIONS)}
        servers.append(postgres(folder / "postgres", free_port(), settings))
        environ["DATABASE_URL"] = servers[-1].url
    elif not kept and not environ.get("HOLDFAST_SECRET"):
        raise DataFolderError(
            "DATABASE_URL outlives a temporary folder, and what is sealed there needs the same"
            " secret next time. Give --data DIR, or set HOLDFAST_SECRET."
        )
    if not environ.get("REDIS_URL"):
        servers.append(valkey(folder / "valkey", free_port()))
        environ["REDIS_URL"] = servers[-1].url
    if environ.get("HOLDFAST_PROFILE") != "production":
        environ["HOLDFAST_SECRET"] = environ.get("HOLDFAST_SECRET") or kept_secret(folder)
    environ.setdefault("HOLDFAST_ORIGIN", f"http://{NAME}:{port}")
    environ["HOLDFAST_RUN_FILE"] = str(folder / RUN_NAME)
    return servers, environ


def _companions(settings: Settings, environ: dict[str, str]) -> dict[str, manifest.Companion]:
    """By the addresses that they get: those that stand in for a service whose address is not given."""
    if settings.profile == "production":
        return {}
    wanted = [
        companion
        for app in manifest.apps()
        for companion in app.companions
        if not environ.get(companion.address)
    ]
    for companion in wanted:
        environ[companion.address] = f"http://{HOST}:{free_port()}"
    return {environ[companion.address]: companion for companion in wanted}


@dataclass
class House:
    folder: Path
    port: int
    listening: socket.socket
    servers: list[Server]
    companions: Mapping[str, manifest.Companion]  # by address
    environ: Mapping[str, str]
    settings: Settings
    kept: bool
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.run_file = RunFile(self.folder / RUN_NAME, f"http://{NAME}:{self.port}", self.folder)
        self.supervisor = Supervisor(self.folder / "logs", self._changed)

    async def run(self) -> None:
        work = asyncio.create_task(self._work())
        self._heed_signals(work)
        try:
            await work
        except asyncio.CancelledError:
            self._say("Stopping: workers finish what they have begun. Ctrl-C again kills.")
        finally:
            await self.supervisor.stop()
            for stale in (RUN_NAME, ENVIRONMENT_NAME):
                (self.folder / stale).unlink(missing_ok=True)
        self._say("Stopped.")

    def _heed_signals(self, work: "asyncio.Task[None]") -> None:
        def stop(number: signal.Signals) -> None:
            stopping = work.cancelling() or work.done()
            if stopping and number is signal.SIGINT:  # the others come twice when a starter dies
                self.supervisor.kill()
            work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)

    async def _work(self) -> None:
        await self.supervisor.start(*map(_server_program, self.servers))
        await self._migrate()
        workers = [self._worker(number + 1) for number in range(self.settings.workers)]
        parts = [*workers, self._jobs()]
        companions = [self._companion(*each) for each in self.companions.items()]
        starting = self.supervisor.start(*companions, *parts)
        accounts, _ = await asyncio.gather(self._seed(), starting)
        self._show(parts, accounts)
        await self.supervisor.watch()

    async def _migrate(self) -> None:
        for app in manifest.apps():
            applied = await migrate(self.settings.database_url, app)
            self._say(f"{app.name}: schema {'migrated' if applied else 'up to date'}")

    async def _seed(self) -> list[Account]:
        if self.settings.profile == "production":
            return []
        accounts: list[Account] = []
        for app in manifest.having("seed"):
            seed = await asyncio.to_thread(app.module, "seed")  # the parts start meanwhile
            accounts += await seed.seed(self.settings)
            self._say(f"{app.name}: demo data there")
        return accounts

    def _worker(self, number: int) -> Program:
        metrics_port, descriptor = free_port(), self.listening.fileno()
        return self._our_own(
            "serve",
            "gateway",
            f"--fd={descriptor}",
            f"--metrics-port={metrics_port}",
            name=f"worker-{number}",
            kind="worker",
            descriptors=(descriptor,),
            port=self.port,
            metrics_port=metrics_port,
            is_ready=lambda _: (
                _answers(metrics_port, "/metrics") and _answers(self.port, "/health/live")
            ),
        )

    def _jobs(self) -> Program:
        metrics_port = free_port()
        return self._our_own(
            "jobs",
            f"--metrics-port={metrics_port}",
            name="jobs",
            kind="jobs",
            metrics_port=metrics_port,
            is_ready=lambda _: _answers(metrics_port, "/metrics"),
        )

    def _companion(self, address: str, companion: manifest.Companion) -> Program:
        port = int(address.rpartition(":")[2])
        return self._our_own(
            *companion.command,
            f"--port={port}",
            name=companion.name,
            kind="companion",
            port=port,
            is_ready=lambda _: _answers(port, "/health/live"),
        )

    def _our_own(self, *words: str, **program: Any) -> Program:
        """A part that is this same command again: a killed supervisor takes it along at once."""
        command = (sys.executable, "-m", "holdfast.cli.main", *words)
        return Program(
            argv=argv(*command, when_orphaned=signal.SIGKILL),
            environ=self.environ,
            stop_s=self.settings.drain_s + 5,
            **program,
        )

    def _changed(self, child: Child) -> None:
        self.run_file.write(self.supervisor.children)
        match child.state:
            case "running":
                self._say(f"{child.program.name} is ready")
            case "restarting":
                self._say(f"{child.program.name} died ({child.last_death}); it is started again")

    def _say(self, sentence: str) -> None:
        print(f"{time.monotonic() - self.began:7.1f} s  {sentence}", flush=True)  # noqa: T201

    def _show(self, parts: list[Program], accounts: list[Account]) -> None:
        url = f"http://{NAME}:{self.port}"
        names = [*EXPORTED, *(companion.address for companion in self.companions.values())]
        exported = {name: self.environ[name] for name in names if self.environ.get(name)}
        environment = write_environment(self.folder, exported)
        rows = [
            ("Home", f"{url}/"),
            *(
                (page.title["en"], f"{url}{page.path}")
                for app in manifest.apps()
                for page in app.pages_in(self.settings.profile)
            ),
            *(("API docs", f"{url}/docs/{app.name}") for app in manifest.apps()),
            ("Health", f"{url}/health/ready"),
            *(
                (each.title, f"{address}  (a stand-in)")
                for address, each in self.companions.items()
            ),
            *(
                ("Metrics", f"http://{HOST}:{part.metrics_port}/metrics  {part.name}")
                for part in parts
            ),
            *((role.capitalize(), f"{email}  {password}") for role, email, password in accounts),
            ("Data", f"{self.folder}{'' if self.kept else '  (temporary; keep it with --data)'}"),
            ("Logs", f"{self.folder / 'logs'}"),
            ("In a shell", f". {environment}   lets other holdfast commands use these servers"),
        ]
        table = "\n".join(f"  {name:16}{value}" for name, value in rows)
        print(f"\n{table}\n\nCtrl-C stops everything.", flush=True)  # noqa: T201


def _server_program(server: Server) -> Program:
    return Program(
        name=server.name,
        kind="server",
        argv=server.argv,
        stop_signal=server.stop_signal,
        port=server.port,
        prepare=server.prepare,
        is_ready=server.is_ready,
    )


def _answers(port: int, path: str) -> bool:
    with suppress(OSError, http.client.HTTPException):
        asked = http.client.HTTPConnection(HOST, port, timeout=1)
        try:
            asked.request("GET", path)
            return asked.getresponse().status == http.HTTPStatus.OK
        finally:
            asked.close()
    return False
