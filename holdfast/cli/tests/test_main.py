"""The command line as its users meet it: what it says, and with which exit status."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from holdfast.cli import servers
from holdfast.cli.listener import listen
from holdfast.cli.servers import free_port, running
from holdfast.core import manifest

SHORTLY_S = 100
OWN = ("DATABASE_URL", "REDIS_URL")
NOBODY_THERE = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/d",
    "REDIS_URL": "redis://127.0.0.1:1",
    "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
}


def holdfast(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in OWN and not name.startswith("HOLDFAST_")
    }
    return subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", *words],
        env=inherited | environ,
        capture_output=True,
        text=True,
        timeout=SHORTLY_S,
        check=False,
    )


@pytest.fixture(scope="module", name="database_url")
def database_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("main") / "pg"
    with running(servers.postgres(folder, free_port(), {"fsync": "off"})) as started:
        yield started.server.url


@pytest.mark.parametrize("command", ["up", "serve", "migrate", "jobs", "doctor", "deals rush"])
def test_help_has_an_example_and_the_exit_statuses(command: str) -> None:
    told = holdfast(*command.split(), "--help")
    assert told.returncode == 0
    assert f"holdfast {command}" in told.stdout.split("Example:")[1]
    assert "Exit status:" in told.stdout


@pytest.mark.parametrize("app", ["gateway", "orders"])
def test_serve_refuses_a_grpc_port_that_nothing_would_answer(app: str) -> None:
    told = holdfast("serve", app, "--grpc-port", "9101", **NOBODY_THERE)
    assert (told.returncode, told.stdout) == (1, "")
    assert f"{app} has nothing that is asked over gRPC. Leave out --grpc-port." in told.stderr
    assert "Traceback" not in told.stderr


def test_who_uses_no_grpc_does_without_its_libraries() -> None:
    apps = ", ".join(f"holdfast.apps.{app.name}.main" for app in manifest.apps())
    found = "{name.split('.')[0] for name in sys.modules} & {'grpc', 'grpc_health', 'google'}"
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, holdfast.cli.serving, {apps}; print({found})"],
        capture_output=True,
        text=True,
        timeout=SHORTLY_S,
        check=True,
    )
    assert told.stdout == "set()\n"


def test_help_lists_the_commands_of_apps() -> None:
    told = holdfast("--help").stdout
    for app in manifest.having("commands"):
        assert f"\n  {app.name} " in told


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from holdfast.cli.main import main; main(['--help'], standalone_mode=False);"
        " print({'fastapi', 'asyncpg', 'pydantic', 'redis'} & set(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.endswith("\nset()\n")


@pytest.mark.parametrize(
    ("words", "environ", "sentence"),
    [
        (["migrate"], {}, "DATABASE_URL is not set"),
        (["migrate", "nothing"], {"DATABASE_URL": "postgresql://h/d"}, "no app 'nothing'"),
        (["migrate"], {"DATABASE_URL": "postgresql://127.0.0.1:1/d"}, "Connect call failed"),
        (["serve", "gateway"], {"REDIS_URL": "redis://h"}, "DATABASE_URL is not set"),
        (["jobs"], NOBODY_THERE, "Connection refused"),
        (["deals", "rush", "--url", "http://127.0.0.1:1"], {}, "127.0.0.1:1 does not answer"),
        (["up"], {"HOLDFAST_PROFILE": "fast"}, "HOLDFAST_PROFILE=fast"),
        (["up"], {"DATABASE_URL": "postgresql://h/d"}, "Give --data DIR, or set HOLDFAST_SECRET"),
    ],
)
def test_a_known_failure_is_a_sentence(
    words: list[str], environ: dict[str, str], sentence: str
) -> None:
    port = [f"--port={free_port()}"] if words == ["up"] else []
    told = holdfast(*words, *port, **environ)
    assert told.returncode == 1
    assert told.stderr.startswith("Error: ")
    assert sentence in told.stderr
    assert "Traceback" not in told.stderr


def test_up_explains_a_taken_port_and_leaves_nothing(tmp_path: Path) -> None:
    with listen(port := free_port()):
        told = holdfast("up", f"--port={port}", TMPDIR=str(tmp_path))
    assert told.returncode == 1
    assert f"Port {port} is taken by pid {os.getpid()} " in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_finds_nothing_wrong_with_this_machine() -> None:
    told = holdfast("doctor", f"--port={free_port()}")
    assert told.returncode == 0, told.stdout
    assert not _lines(told.stdout, "fail")
    subjects = {line[6:].split("  ")[0] for line in told.stdout.splitlines()}
    assert {"python", "settings", "own postgres", "own valkey", "port", "DATABASE_URL"} <= subjects


def test_doctor_says_what_a_wrong_setting_is() -> None:
    told = holdfast("doctor", HOLDFAST_LIMITS="maybe")
    assert told.returncode == 1
    assert "HOLDFAST_LIMITS=maybe" in _lines(told.stdout, "fail")[0]


def test_doctor_says_which_servers_cannot_be_reached() -> None:
    nobody_there = f"127.0.0.1:{free_port()}"
    told = holdfast(
        "doctor", DATABASE_URL=f"postgresql://{nobody_there}/d", REDIS_URL=f"redis://{nobody_there}"
    )
    assert told.returncode == 1
    assert [line.split()[1] for line in _lines(told.stdout, "fail")] == list(OWN)


async def test_doctor_says_which_rights_a_database_user_lacks(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    await connection.close()
    port = urlsplit(database_url).port
    told = holdfast("doctor", DATABASE_URL=f"postgresql://poor:poor@127.0.0.1:{port}/postgres")
    assert told.returncode == 1
    schemas, roles = _lines(told.stdout, "fail")
    assert "GRANT CREATE ON DATABASE postgres TO poor;" in schemas
    assert "ALTER ROLE poor CREATEROLE;" in roles


def test_doctor_is_content_with_a_good_database(database_url: str) -> None:
    told = holdfast("doctor", DATABASE_URL=database_url)
    assert told.returncode == 0
    assert any("may create schemas and roles" in line for line in _lines(told.stdout, "ok"))


def _lines(report: str, verdict: str) -> list[str]:
    return [line for line in report.splitlines() if line.startswith(verdict)]
