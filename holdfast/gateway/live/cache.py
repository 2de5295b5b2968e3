"""The latest figures of all workers, kept for a second.

However many browsers watch, this worker reads each worker's metrics once a second at most.
"""

import asyncio
import time

from holdfast.gateway.home.client import Supervisor
from holdfast.gateway.live.rules import combine
from holdfast.gateway.live.schemas import Figures

FRESH_S = 1.0


class Watch:
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._reading: asyncio.Task[Figures] | None = None
        self._stale_at = 0.0

    async def figures(self) -> Figures:
        if self._reading is None or time.monotonic() >= self._stale_at:
            self._stale_at = time.monotonic() + FRESH_S
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(self._reading)  # who leaves takes nothing from the others

    async def _read(self) -> Figures:
        read_at = time.time()
        return combine(await self._supervisor.metrics(self._supervisor.run()), read_at)
