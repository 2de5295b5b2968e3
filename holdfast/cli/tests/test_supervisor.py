"""The supervisor, over real processes: shells that live, die and refuse as they are told."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from holdfast.cli.child import Child, GaveUpError, Patience, Program
from holdfast.cli.run_file import RunFile
from holdfast.cli.supervisor import Supervisor
from holdfast.cli.tether import UNUSABLE, argv

SHORTLY_S = 30
IMPATIENT = Patience(waits_s=(0.01, 0.01, 0.01), ready_s=SHORTLY_S, steady_s=60)
FOR_EVER = "while :; do sleep 0.05; done"


def until_there(path: Path) -> str:
    return f"until [ -e {path} ]; do sleep 0.05; done"


def shell(name: str, script: str, **program: object) -> Program:
    command = argv("/bin/sh", "-c", script, when_orphaned=signal.SIGKILL)
    return Program(name=name, kind="worker", argv=command, **program)  # type: ignore[arg-type]  # passed on


@asynccontextmanager
async def supervised(
    folder: Path, changed: Callable[[Child], None] = lambda _: None
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(folder / "logs", changed, IMPATIENT)
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(SHORTLY_S):
        while not true():
            await asyncio.sleep(0.01)


def alive(pid: int | None) -> bool:
    """A zombie is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_restarts_a_killed_child_and_tells_the_run_file(tmp_path: Path) -> None:
    run_file = RunFile(tmp_path / "run.json", "http://127.0.0.1:1", tmp_path)

    def told() -> dict[str, object]:
        run = msgspec.json.decode(run_file.path.read_bytes())
        process: dict[str, object] = run["processes"][0]
        return process

    async with supervised(tmp_path, lambda _: run_file.write(supervisor.children)) as supervisor:
        await supervisor.start(shell("one", FOR_EVER))
        first = supervisor.children[0].pid
        assert first
        assert told() | {"since": ""} == {
            "name": "one",
            "kind": "worker",
            "pid": first,
            "port": None,
            "metrics_port": None,
            "state": "running",
            "since": "",
            "restarts": 0,
        }
        os.kill(first, signal.SIGKILL)
        await until(lambda: told()["restarts"] == 1 and told()["state"] == "running")
        assert told()["pid"] != first
        assert alive(supervisor.children[0].pid)


async def test_gives_up_a_child_that_keeps_dying_with_its_last_lines(tmp_path: Path) -> None:
    fire = tmp_path / "fire"
    dying = f"{until_there(fire)}; echo the disk is on fire; exit 3"
    async with supervised(tmp_path) as supervisor:
        await supervisor.start(shell("one", dying))
        fire.touch()
        with pytest.raises(GaveUpError) as given_up:
            await supervisor.watch()
    assert "one died 4 times (exit status 3)" in str(given_up.value)
    assert str(given_up.value).endswith("\n  the disk is on fire")


async def test_does_not_try_again_what_never_was_ready(tmp_path: Path) -> None:
    async with supervised(tmp_path) as supervisor:
        with pytest.raises(GaveUpError, match="one died at its start") as given_up:
            await supervisor.start(shell("one", "echo wrong setting; exit 1", is_ready=_never))
    assert "wrong setting" in str(given_up.value)


async def test_does_not_try_again_what_says_that_it_is_useless(tmp_path: Path) -> None:
    told = tmp_path / "told"
    async with supervised(tmp_path) as supervisor:
        await supervisor.start(shell("one", f"{until_there(told)}; exit {UNUSABLE}"))
        told.touch()
        with pytest.raises(GaveUpError):
            await supervisor.watch()
        assert supervisor.children[0].restarts == 0


async def test_gives_up_what_does_not_become_ready_in_time(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "logs", patience=Patience(ready_s=0.3))
    with pytest.raises(GaveUpError, match="SIGKILL"):
        await supervisor.start(shell("one", FOR_EVER, is_ready=_never))
    await supervisor.stop()
    assert not alive(supervisor.children[0].pid)


def _never(pid: int) -> bool:
    return False


async def test_starts_a_stage_only_when_the_one_before_is_ready(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    server = shell(
        "server", f"sleep 0.2; touch {ready}; {FOR_EVER}", is_ready=lambda _: ready.exists()
    )
    async with supervised(tmp_path) as supervisor:
        await supervisor.start(server)
        await supervisor.start(shell("worker", f"ls {ready}; {FOR_EVER}"))
        log = tmp_path / "logs" / "worker.log"
        await until(lambda: log.read_text() == f"{ready}\n")


async def test_stops_the_latest_stage_first_and_waits_for_it(tmp_path: Path) -> None:
    """The worker still needs its server while it finishes: the server must outlive it."""
    ends = tmp_path / "ends"

    def ending(name: str, how: str = "true") -> Program:
        last_act = f"trap '{how}; echo {name} >> {ends}; exit' TERM; touch {tmp_path}/{name}"
        ready = tmp_path / name
        return shell(name, f"{last_act}; {FOR_EVER}", is_ready=lambda _: ready.exists())

    async with supervised(tmp_path) as supervisor:
        await supervisor.start(ending("server"))
        await supervisor.start(
            ending("slow-worker", until_there(ends)), ending("worker", "sleep 0.2")
        )
    assert ends.read_text().split() == ["worker", "slow-worker", "server"]
    assert {child.state for child in supervisor.children} == {"stopped"}


async def test_a_paused_child_can_be_stopped(tmp_path: Path) -> None:
    async with supervised(tmp_path) as supervisor:
        await supervisor.start(shell("one", FOR_EVER))
        pid = supervisor.children[0].pid or 0
        os.kill(pid, signal.SIGSTOP)
    assert not alive(pid)


async def test_kill_ends_at_once_what_does_not_want_to_stop(tmp_path: Path) -> None:
    deaf = f"trap '' TERM; touch {tmp_path}/deaf; {FOR_EVER}"
    supervisor = Supervisor(tmp_path / "logs")
    await supervisor.start(shell("one", deaf, is_ready=lambda _: (tmp_path / "deaf").exists()))
    began = time.monotonic()
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0.2)
    assert not stopping.done()
    supervisor.kill()
    await stopping
    assert time.monotonic() - began < supervisor.children[0].program.stop_s
    assert not alive(supervisor.children[0].pid)


ORPHANAGE = """
import asyncio, sys
from pathlib import Path
from holdfast.cli.supervisor import Supervisor
from holdfast.cli.tests.test_supervisor import FOR_EVER, shell

async def main():
    supervisor = Supervisor(Path(sys.argv[1]))
    await supervisor.start(shell("one", FOR_EVER), shell("two", FOR_EVER))
    print(*(child.pid for child in supervisor.children), flush=True)
    await supervisor.watch()

asyncio.run(main())
"""


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ORPHANAGE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        supervisor.kill()
    asyncio.run(until(lambda: not any(map(alive, pids))))
