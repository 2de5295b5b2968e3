"""What `holdfast serve` and `holdfast jobs` run: one app's process, from settings to its end."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

import uvloop

from holdfast.core import manifest, web
from holdfast.core.serve import serve
from holdfast.core.settings import Settings
from holdfast.core.telemetry import logs
from holdfast.core.telemetry.http import exposed
from holdfast.gateway.main import front_door

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


def do_jobs(name: str, *, metrics_port: int | None) -> None:
    app = manifest.find(name)
    settings = Settings.load(os.environ)
    logs.configure(settings.profile)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(partial(app.module("jobs").jobs, settings), metrics_port))


async def _until_told(work: Callable[[], Awaitable[None]], metrics_port: int | None) -> None:
    async with AsyncExitStack() as stack:
        if metrics_port is not None:
            await stack.enter_async_context(exposed(metrics_port))
        doing = asyncio.ensure_future(work())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, doing.cancel)
        with suppress(asyncio.CancelledError):
            await doing
