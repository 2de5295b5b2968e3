"""`holdfast up` as its user meets it: pages, kept data, workers that come back, a clean end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from holdfast.cli.servers import free_port

START_S = 60
opener = build_opener(ProxyHandler({}))


class Up:
    """One `holdfast up` that was started, and what it said."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, data: Path) -> None:
        self.process = process
        self.url = f"http://localhost:{port}"
        self.data = data
        self.said = ""

    def wait_for(self, sentence: str) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            if sentence in line:
                return
        raise AssertionError(f"{sentence!r} was never said, but:\n{self.said}")

    def processes(self) -> dict[str, dict[str, Any]]:
        told = json.loads((self.data / "run.json").read_text())
        return {process["name"]: process for process in told["processes"]}

    def account(self, role: str) -> tuple[str, str]:
        found = re.search(rf"^  {role} +(\S+)  (\S+)$", self.said, re.MULTILINE)
        assert found
        return found[1], found[2]

    def get(self, path: str) -> int:
        return self.ask(Request(self.url + path))  # noqa: S310 - the address is ours

    def log_in(self, email: str, password: str) -> int:
        body = json.dumps({"email": email, "password": password}).encode()
        headers = {"Content-Type": "application/json"}
        return self.ask(Request(f"{self.url}/api/v1/auth/login", body, headers))  # noqa: S310

    def ask(self, request: Request) -> int:
        try:
            with opener.open(request, timeout=10) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0  # a worker that was killed answers nobody


@contextmanager
def up(data: Path, *options: str, **environ: str) -> Iterator[Up]:
    port = free_port()
    words = ["up", f"--port={port}", f"--data={data}", *options]
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "holdfast.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"HOLDFAST_LIMITS": "off"} | environ,
    ) as process:
        started = Up(process, port, data)
        try:
            started.wait_for("Ctrl-C stops everything.")
            yield started
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(START_S)
            finally:
                process.kill()


def until(true: Callable[[], object]) -> None:
    """A house that has just started, or lost a part, may be busy for a moment."""
    give_up_at = time.monotonic() + START_S
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def until_there(house: Up, path: str) -> None:
    until(lambda: house.get(path) == 200)


@pytest.fixture(scope="module", name="house")
def running_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("up") / "data", "--workers=2") as started:
        yield started


def test_shows_pages_that_are_there(house: Up) -> None:
    urls = re.findall(r"http://[a-z0-9.]+:\d+(/\S*)", house.said)
    assert {"/", "/docs/identity", "/health/ready", "/metrics"} <= set(urls)
    for path in ("/", "/docs/identity", "/health/ready"):
        until_there(house, path)


@pytest.mark.parametrize("role", ["Admin", "User"])
def test_shows_accounts_that_can_log_in(house: Up, role: str) -> None:
    until(lambda: house.log_in(*house.account(role)) == 200)


def test_tells_everyone_where_a_companion_is(house: Up) -> None:
    found = re.search(r"^  Payments +(http://127\.0\.0\.1:\d+)", house.said, re.MULTILINE)
    assert found
    assert house.ask(Request(f"{found[1]}/health/live")) == 200  # noqa: S310 - the address is ours
    assert f"HOLDFAST_ORDERS_PAYMENT_URL='{found[1]}'" in (house.data / "env").read_text()


def test_the_run_file_tells_every_process(house: Up) -> None:
    processes = house.processes()
    assert {"postgres", "valkey", "worker-1", "worker-2", "jobs", "payments"} == set(processes)
    assert {process["state"] for process in processes.values()} == {"running"}


def test_a_second_one_on_the_same_data_is_told_where_the_first_is(house: Up) -> None:
    command = [sys.executable, "-m", "holdfast.cli.main", "up", f"--port={free_port()}"]
    told = subprocess.run(  # noqa: S603 - our own command
        [*command, f"--data={house.data}"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert f"Already running: pid {house.process.pid}, url {house.url}" in told.stderr


@pytest.mark.parametrize("name", ["worker-1", "jobs", "payments", "valkey", "postgres"])
def test_a_killed_part_comes_back(house: Up, name: str) -> None:
    os.kill(house.processes()[name]["pid"], signal.SIGKILL)
    until(lambda: house.processes()[name]["restarts"] == 1)
    until(lambda: house.processes()[name]["state"] == "running")
    until_there(house, "/health/ready")


def test_a_second_start_finds_the_data_and_an_end_leaves_no_process(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with up(data, HOLDFAST_SECRET="") as first:
        pids = [process["pid"] for process in first.processes().values()]
        secret = (data / "secret").read_text()
        until(lambda: _register(first, "kept@example.com") == 201)
    assert first.process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not (data / "run.json").exists()
    with up(data, HOLDFAST_SECRET="") as second:
        until(lambda: second.log_in("kept@example.com", "a-good-long-password") == 200)
        assert (data / "secret").read_text() == secret


def test_whoever_is_told_twice_to_end_ends_as_well(tmp_path: Path) -> None:
    """The kernel tells a child of each thread of a parent that died; only Ctrl-C again kills."""
    data = tmp_path / "data"
    with up(data) as house:
        for _ in range(3):
            house.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert house.process.wait(START_S) == 0
    assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()  # else it was killed


def _register(house: Up, email: str) -> int:
    body = json.dumps({"email": email, "password": "a-good-long-password"}).encode()
    headers = {"Content-Type": "application/json"}
    return house.ask(Request(f"{house.url}/api/v1/auth/register", body, headers))  # noqa: S310
