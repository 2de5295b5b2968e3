"""The supervisor: keeps children alive in stages, and ends them in the opposite order.

A stage starts when all of the stage before it are ready, so servers come before those who need
them and go after them. When one child is given up, the whole is: half a system that looks alive
is worse than none. It knows nothing of what its children do.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.cli.child import Child, Patience, Program


class Supervisor:
    def __init__(
        self,
        logs: Path,
        changed: Callable[[Child], None] = lambda _: None,
        patience: Patience | None = None,
    ) -> None:
        self._logs = logs
        self._changed = changed
        self._patience = patience or Patience()
        self._stages: list[dict[Child, asyncio.Task[None]]] = []

    @property
    def children(self) -> list[Child]:
        return [child for stage in self._stages for child in stage]

    async def start(self, *programs: Program) -> None:
        """One more stage; returns when all of it is ready, raises when one is given up."""
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        stage: dict[Child, asyncio.Task[None]] = {}
        self._stages.append(stage)
        for program in programs:
            log = self._logs / f"{program.name}.log"
            child = Child(program, log, self._patience, self._changed)
            stage[child] = asyncio.create_task(child.keep(), name=program.name)
        everyone = asyncio.create_task(_all_ready(list(stage)))
        try:
            await self._first_of(everyone)
        finally:
            everyone.cancel()

    async def watch(self) -> None:
        """Until a child is given up; raises what there is to say about it."""
        await self._first_of()

    async def stop(self) -> None:
        """Stage by stage, the latest first; those of one stage together."""
        for stage in reversed(self._stages):
            for task in stage.values():
                task.cancel()
            await asyncio.gather(*stage.values(), return_exceptions=True)

    def kill(self) -> None:
        """All at once, for when an orderly end takes too long; `stop` then has little to wait for."""
        for stage in self._stages:
            for child, task in stage.items():
                if not task.cancelling():
                    task.cancel()
                child.kill()

    async def _first_of(self, *others: "asyncio.Future[Any]") -> None:
        keeping: list[asyncio.Future[Any]] = [
            task for stage in self._stages for task in stage.values()
        ]
        done, _ = await asyncio.wait([*keeping, *others], return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()


async def _all_ready(children: list[Child]) -> None:
    for child in children:
        await child.was_ready.wait()
