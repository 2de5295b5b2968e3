"""One supervised child: started, awaited until ready, restarted when it dies, ended when told.

A child that dies before it was ever ready, or that keeps dying soon after its start, is given up
with its last words instead of being started for ever. A child that lives but hangs is not
noticed here: that is what health checks are for.
"""

import asyncio
import os
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from holdfast.cli.tether import UNUSABLE

Kind = Literal["server", "worker", "jobs", "companion"]
State = Literal["starting", "running", "restarting", "stopped"]

POLL_S = 0.03
LAST_LINES = 15


@dataclass(frozen=True)
class Patience:
    """How long to wait before each restart in a row; when none is left, the child is given up."""

    waits_s: tuple[float, ...] = (0.1, 0.3, 1, 3, 10)
    ready_s: float = 60
    steady_s: float = 10  # a child that lived this long is forgiven its earlier deaths


@dataclass(frozen=True)
class Program:
    """What is to run. `is_ready` and `prepare` may block; they are called in a thread."""

    name: str
    kind: Kind
    argv: tuple[str, ...]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 30
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    descriptors: tuple[int, ...] = ()
    port: int | None = None
    metrics_port: int | None = None
    prepare: Callable[[], None] = lambda: None
    is_ready: Callable[[int], bool] = lambda _: True


class GaveUpError(Exception):
    """A child cannot be kept alive; the sentence has its last lines."""


class Child:
    def __init__(
        self,
        program: Program,
        log: Path,
        patience: Patience,
        changed: Callable[["Child"], None],
    ) -> None:
        self.program = program
        self.log = log
        self.patience = patience
        self.changed = changed
        self.state: State = "starting"
        self.since = datetime.now(UTC)
        self.restarts = 0
        self.last_death = ""
        self.was_ready = asyncio.Event()
        self._process: Process | None = None
        self._log_begins = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def keep(self) -> None:
        """Until cancelled, which ends the child in order, or until it is given up."""
        waits = iter(self.patience.waits_s)
        try:
            while True:
                began = time.monotonic()
                await self._live()
                if time.monotonic() - began >= self.patience.steady_s:
                    waits = iter(self.patience.waits_s)
                wait_s = next(waits, None)
                if wait_s is None or not self.was_ready.is_set() or self._is_unusable():
                    raise GaveUpError(self._obituary())
                self.restarts += 1
                self._become("restarting")
                await asyncio.sleep(wait_s)
        finally:
            self._become("stopped")

    def kill(self) -> None:
        """At once, with everything that the child has started itself."""
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _live(self) -> None:
        """One life, from preparation to death."""
        await asyncio.to_thread(self.program.prepare)
        self._process = process = await self._spawn()
        self._become("starting")
        try:
            await self._until_ready(process)
            await process.wait()
        finally:
            await self._end(process)
            self.last_death = self._cause(process)

    async def _spawn(self) -> Process:
        with self.log.open("ab") as log:
            self._log_begins = log.tell()
            return await asyncio.create_subprocess_exec(
                *self.program.argv,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=self.program.environ,
                pass_fds=self.program.descriptors,
                start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor alone
            )

    async def _until_ready(self, process: Process) -> None:
        give_up_at = time.monotonic() + self.patience.ready_s
        while process.returncode is None and time.monotonic() < give_up_at:
            if await asyncio.to_thread(self.program.is_ready, process.pid):
                self.was_ready.set()
                self._become("running")
                return
            await asyncio.sleep(POLL_S)
        self.kill()

    async def _end(self, process: Process) -> None:
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
            process.send_signal(signal.SIGCONT)  # a paused one would not hear
        try:
            await asyncio.wait_for(process.wait(), self.program.stop_s)
        except TimeoutError:
            self.kill()
            await process.wait()

    def _become(self, state: State) -> None:
        self.state = state
        self.since = datetime.now(UTC)
        self.changed(self)

    def _is_unusable(self) -> bool:
        return self._process is not None and self._process.returncode == UNUSABLE

    def _cause(self, process: Process) -> str:
        status = process.returncode or 0
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"exit status {status}"

    def _obituary(self) -> str:
        times = f"{self.restarts + 1} times" if self.restarts else "at its start"
        return (
            f"{self.program.name} died {times} ({self.last_death}). Last lines of {self.log}:\n"
            + self._last_lines()
        )

    def _last_lines(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (it said nothing)"
