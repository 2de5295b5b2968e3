"""What `holdfast serve` and `holdfast jobs` run: one process, from settings to its end."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import uvloop

from holdfast.core import manifest, web
from holdfast.core.serve import serve
from holdfast.core.settings import Settings
from holdfast.core.telemetry import logs
from holdfast.core.telemetry.http import exposed
from holdfast.gateway.main import front_door
from holdfast.gateway.surroundings import PORT as GATEWAY_PORT

Job = Callable[[], Coroutine[Any, Any, None]]

GATEWAY = "gateway"


class NoGrpcError(Exception):
    """It was told to answer gRPC, and has no method to answer."""


def serve_app(
    name: str,
    *,
    host: str,
    port: int | None,
    fd: int | None,
    grpc_port: int | None,
    metrics_port: int | None,
) -> None:
    app = None if name == GATEWAY else manifest.find(name)
    settings = Settings.load(os.environ)
    service = app.module("main").service(settings) if app else None
    if grpc_port is not None:
        service = _also_by_grpc(name, service, f"{host}:{grpc_port}", settings.drain_s)
    serve(
        web.build(settings, service) if service else front_door(settings),
        settings,
        host=host,
        port=port or (app.port if app else GATEWAY_PORT),
        fd=fd,
        metrics_port=metrics_port,
    )


def _also_by_grpc(
    name: str, service: web.Service | None, address: str, drain_s: float
) -> web.Service:
    if service is None or not service.grpc():
        raise NoGrpcError(f"{name} has nothing that is asked over gRPC. Leave out --grpc-port.")
    from holdfast.core.rpc.server import also_by_grpc  # noqa: PLC0415 - 14 MB, for who serves it

    return also_by_grpc(service, address, drain_s)


def do_jobs(name: str | None, *, metrics_port: int | None) -> None:
    """Those of one app, or of all that have some."""
    apps = [manifest.find(name)] if name else manifest.having("jobs")
    settings = Settings.load(os.environ)
    logs.configure(settings.profile)
    jobs = [partial(app.module("jobs").jobs, settings) for app in apps]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(partial(_together, jobs), metrics_port))


async def _together(jobs: Sequence[Job]) -> None:
    """When one fails all end, with its error: with a part of it missing, work must not look done."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for job in jobs:
                tasks.create_task(job())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _until_told(work: Job, metrics_port: int | None) -> None:
    async with AsyncExitStack() as stack:
        if metrics_port is not None:
            await stack.enter_async_context(exposed(metrics_port))
        gc.freeze()
        gc.enable()
        doing = asyncio.ensure_future(work())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, doing.cancel)
        with suppress(asyncio.CancelledError):
            await doing
