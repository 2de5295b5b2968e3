"""gRPC's own health service: SERVING while the service is ready, NOT_SERVING when it is not or ends.

The library's servicer keeps a watcher's stream open for ever, which would make every end take as
long as it may. Here the last word ends it.
"""

import asyncio
from collections.abc import Collection
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse, HealthListResponse

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Health:
    """Of the process as a whole (the empty name), and of each service in it."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = {"", *services}
        self._status = NOT_SERVING
        self._ended = False
        self._changed = asyncio.Event()

    def tell(self, *, ready: bool) -> None:
        self._status = SERVING if ready else NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self) -> None:
        self._ended = True
        self.tell(ready=False)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC names them
        now = HealthCheckResponse(status=self._status)
        return HealthListResponse(statuses=dict.fromkeys(self._services, now))

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no service of this name.")
        return HealthCheckResponse(status=self._status)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802
        known, told = request.service in self._services, None
        while True:
            changed = self._changed
            status = self._status if known else HealthCheckResponse.SERVICE_UNKNOWN
            if status != told:
                await context.write(HealthCheckResponse(status=status))
                told = status
            if self._ended:
                return
            await changed.wait()
