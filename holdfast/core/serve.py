"""Serving: one process, one loop, one ASGI application, and a clean end.

On SIGTERM or SIGINT the process takes no new connections, ends its streams of events, finishes the
requests it has (for at most `drain_s`), then lets the application close what it opened. Metrics are
served on a port of their own, so that they never compete with, or leak to, the public.
"""

import asyncio
import gc
import os
import resource
import signal
import socket
from contextlib import AsyncExitStack

import uvicorn
from starlette.types import ASGIApp

from holdfast.core import sse
from holdfast.core.protocol import BoundedProtocol
from holdfast.core.settings import Settings
from holdfast.core.sockets import LARGEST_MESSAGE, WebSockets
from holdfast.core.telemetry import http as telemetry
from holdfast.core.telemetry import logs, traces

# Objects between two looks for cycles. A thousand requests under way are far more than the default
# of 700, and none of them is garbage: looking at them again and again was a tenth of their time.
LOOK_SELDOM = (20_000, 50, 100)


def serve(
    app: ASGIApp,
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    fd: int | None = None,
    metrics_port: int | None = None,
) -> None:
    """Serve until told to stop; on an inherited socket when `fd` is given."""
    logs.configure(settings.profile)
    take_all_files()
    config = uvicorn.Config(
        telemetry.observed(traces.traced(app, "holdfast", os.environ)),
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedProtocol,
        ws=WebSockets,
        ws_max_size=LARGEST_MESSAGE,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_s),
        backlog=2048,
    )
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _told_to_stop)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(Server(config), fd, metrics_port))


def take_all_files() -> None:
    """As many as this process may have: each connection is one, and the thousand that is usual at
    first is meant for programs that could not count further.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _told_to_stop(*_: object) -> None:
    """Uvicorn raises the signal once more when all is done: then the end is as was asked."""


class Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        sse.PROCESS.end()  # no stream of events ends by itself
        await super().shutdown(sockets)


async def _serve(server: Server, fd: int | None, metrics_port: int | None) -> None:
    # Not uvicorn's own `fd`, which takes any socket for a Unix one and leaves Nagle's delay on.
    inherited = None if fd is None else [socket.socket(fileno=fd)]
    async with AsyncExitStack() as stack:
        if metrics_port is not None:
            await stack.enter_async_context(telemetry.exposed(metrics_port))
        gc.collect()
        gc.freeze()  # what was imported stays: the collector need not look at it again
        gc.set_threshold(*LOOK_SELDOM)
        gc.enable()
        await server.serve(inherited)
