import asyncio
import multiprocessing
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import aiohttp
from fastapi import APIRouter

from holdfast.cli.servers import free_port
from holdfast.core.serve import serve
from holdfast.core.settings import Settings
from holdfast.core.web import Service, build

SETTINGS = Settings.load(
    {
        "DATABASE_URL": "postgresql://a@b/c",
        "REDIS_URL": "redis://b",
        "HOLDFAST_SECRET": "a secret that only the tests know",
    }
)


def serve_slowly(inherited: socket.socket, metrics_port: int, told: Connection) -> None:
    """A worker that tells what it does, for whoever started it."""
    router = APIRouter()

    @router.get("/slow")
    async def answer_slowly() -> str:
        told.send("asked")
        await asyncio.sleep(0.3)
        return "answered"

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        told.send("opened")
        yield
        told.send("closed")

    app = build(SETTINGS, Service("slow", lifespan, [router]))
    serve(app, SETTINGS, fd=inherited.fileno(), metrics_port=metrics_port)


@contextmanager
def serving(metrics_port: int) -> Iterator[tuple[str, BaseProcess, Connection]]:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        arguments = (listening, metrics_port, theirs)
        process = spawning.Process(target=serve_slowly, args=arguments)
        process.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", process, ours
        finally:
            process.kill()
            process.join()


async def test_a_process_that_is_told_to_end_answers_whom_it_has_and_closes_what_it_opened() -> (
    None
):
    metrics_port = free_port()
    with serving(metrics_port) as (url, process, pipe):

        async def told() -> Any:
            return await asyncio.to_thread(pipe.recv)

        assert await told() == "opened"
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{metrics_port}/metrics") as metrics:
                assert "holdfast_http_requests_total" in await metrics.text()
            asking = asyncio.create_task(http.get(f"{url}/slow"))
            assert await told() == "asked"
            os.kill(process.pid or 0, signal.SIGTERM)
            async with await asking as answer:
                assert await answer.json() == "answered"
        assert await told() == "closed"
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0


async def test_a_worker_takes_as_many_connections_as_it_may() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    fewer = most - 1  # and not few: nobody knows how many this process has open
    resource.setrlimit(resource.RLIMIT_NOFILE, (fewer, most))
    try:
        with serving(free_port()) as (_, process, told):
            assert await asyncio.to_thread(told.recv) == "opened"
            assert process.pid
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
