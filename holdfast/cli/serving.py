"""What `holdfast serve` and `holdfast jobs` run: one process, from settings to its end."""

import asyncio
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

Job = Callable[[], Coroutine[Any, Any, None]]

GATEWAY = "gateway"
GATEWAY_PORT = 8000


def serve_app(
    name: str, *, host: str, port: int | None, fd: int | None, metrics_port: int | None
) -> None:
    app = None if name == GATEWAY else manifest.find(name)
    settings = Settings.load(os.environ)
    serve(
        web.build(settings, app.module("main").service(settings)) if app else front_door(settings),
        settings,
        host=host,
        port=port or (app.port if app else GATEWAY_PORT),
        fd=fd,
        metrics_port=metrics_port,
    )


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
        doing = asyncio.ensure_future(work())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, doing.cancel)
        with suppress(asyncio.CancelledError):
            await doing
