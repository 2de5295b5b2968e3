"""PostgreSQL and Valkey as children: started, killed, started again, refused when in use."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from holdfast.cli import servers, tether
from holdfast.cli.servers import Running, ServerError, free_port, running

QUICK = {"fsync": "off"}
PACKAGE_ROOT = Path(servers.__file__).parents[2]


@pytest.fixture(name="postgres")
def running_postgres(tmp_path: Path) -> Iterator[Running]:
    with running(servers.postgres(tmp_path / "pg", free_port(), QUICK)) as started:
        yield started


@pytest.fixture(name="valkey")
def running_valkey(tmp_path: Path) -> Iterator[Running]:
    with running(servers.valkey(tmp_path / "valkey", free_port())) as started:
        yield started


async def ask(url: str, *statements: str) -> object:
    """The last one's answer."""
    connection = await asyncpg.connect(url)
    try:
        answers = [await connection.fetchval(statement) for statement in statements]
        return answers[-1]
    finally:
        await connection.close()


async def test_postgres_keeps_what_was_committed_before_it_was_killed(postgres: Running) -> None:
    url = postgres.server.url
    await ask(url, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('here')")
    first = postgres.pid
    os.kill(first, signal.SIGKILL)
    postgres.restart()
    assert postgres.pid != first
    assert await ask(url, "SELECT word FROM kept") == "here"


async def test_postgres_is_durable_unless_told_otherwise(tmp_path: Path) -> None:
    with running(servers.postgres(tmp_path / "pg", free_port())) as postgres:
        assert await ask(postgres.server.url, "SHOW fsync") == "on"
        assert await ask(postgres.server.url, "SHOW synchronous_commit") == "on"


async def test_postgres_wants_its_password(postgres: Running) -> None:
    url = postgres.server.url
    password = (postgres.server.data / "password").read_text()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(url.replace(password, "guessed"), "SELECT 1")


async def test_postgres_can_count_statements(postgres: Running) -> None:
    counted = await ask(
        postgres.server.url,
        "CREATE EXTENSION pg_stat_statements",
        "SELECT count(*) FROM pg_stat_statements",
    )
    assert isinstance(counted, int)


async def test_postgres_starts_although_its_old_pid_is_somebody_elses_now(
    postgres: Running,
) -> None:
    postgres.kill()
    pid_file = postgres.server.data / "cluster" / "postmaster.pid"
    _, *rest = pid_file.read_text().splitlines(keepends=True)
    pid_file.write_text("".join([f"{os.getppid()}\n", *rest]))
    postgres.restart()
    assert await ask(postgres.server.url, "SELECT 1") == 1


async def test_a_folder_in_use_is_explained_with_its_holder(postgres: Running) -> None:
    with pytest.raises(ServerError) as refused:
        Running(servers.postgres(postgres.server.data, free_port(), QUICK))
    assert f"is in use: the process with pid {postgres.pid} holds it" in str(refused.value)
    assert await ask(postgres.server.url, "SELECT 1") == 1


def test_passwords_are_for_the_owner_and_not_on_the_command_line(
    postgres: Running, valkey: Running
) -> None:
    for server in (postgres, valkey):
        secret = server.server.data / "password"
        assert secret.stat().st_mode & 0o777 == 0o600
        assert secret.read_bytes() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert (valkey.server.data / "valkey.conf").stat().st_mode & 0o777 == 0o600


async def test_valkey_keeps_what_it_was_told_over_a_restart(valkey: Running) -> None:
    async with Redis.from_url(valkey.server.url) as client:
        await client.set("word", "here")
    valkey.restart()
    async with Redis.from_url(valkey.server.url) as client:
        assert await client.get("word") == b"here"


def test_postgres_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """And its folder is free at once, so that the next start finds no obstacle."""
    script = f"""
from holdfast.cli.servers import *
with running(postgres(Path({str(tmp_path / "pg")!r}), free_port(), {QUICK})) as started:
    print(started.pid, flush=True)
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert int(parent.stdout.readline())
        parent.kill()
    with running(servers.postgres(tmp_path / "pg", free_port(), QUICK)) as started:
        assert started.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs all the other tests here already")
def test_a_plain_user_can_run_both() -> None:
    python = _python_for_nobody()
    if not python:
        pytest.skip("the user nobody may execute no Python here")
    script = """
import tempfile
from holdfast.cli.servers import *
with tempfile.TemporaryDirectory() as folder:
    with running(postgres(Path(folder, "pg"), free_port(), {"fsync": "off"})) as started:
        print(Path(f"/proc/{started.pid}").stat().st_uid)
    with running(valkey(Path(folder, "valkey"), free_port())):
        print("both")
"""
    told = subprocess.run(
        [python, "-c", script],
        user=tether.NOBODY,
        group=tether.NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": f"{PACKAGE_ROOT}:{Path(asyncpg.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.split() == [str(tether.NOBODY), "both"], told.stderr


def _python_for_nobody() -> str | None:
    """This Python, or the system's: the local servers need nothing but the standard library."""
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        if python and _runs_as_nobody([python, "-c", f"import sys; open({servers.__file__!r})"]):
            return python
    return None


def _runs_as_nobody(command: list[str]) -> bool:
    try:
        return not subprocess.run(
            command, user=tether.NOBODY, group=tether.NOBODY, cwd="/", check=False
        ).returncode
    except PermissionError:
        return False


def test_a_port_is_given_once_and_its_server_may_come_and_go() -> None:
    port = free_port()
    nobody_else = socket.socket()
    for _ in range(2):
        with pytest.raises(OSError, match="in use"):
            nobody_else.bind(("127.0.0.1", port))
        with socket.socket() as gone, pytest.raises(ConnectionRefusedError):
            gone.connect(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)) as server:
            socket.create_connection(("127.0.0.1", port)).close()
            server.accept()[0].close()
    nobody_else.close()
