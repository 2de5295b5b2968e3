"""A stream of events ends when it is told, when its client leaves and when its process ends; never half."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.core.sse import HEARTBEAT, EventStream, Streams, event
from holdfast.core.tests.serving import served

SOON_S = 30


class Told:
    """Who tells, and what became of them."""

    def __init__(self) -> None:
        self.streams = Streams()
        self.began = self.ended = 0

    async def frames(self, path: str) -> AsyncGenerator[bytes]:
        self.began += 1
        try:
            yield event("turn", b'{"position":1}')
            match path:
                case "/short":
                    return
                case "/broken":
                    raise RuntimeError("no more to tell")
            while True:
                yield HEARTBEAT
                await asyncio.sleep(0.01)
        finally:
            self.ended += 1

    def app(self) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                stream = EventStream(self.frames(scope["path"]), self.streams)
                await stream(scope, receive, send)

        return app

    async def until_ended(self, number: int) -> None:
        async with asyncio.timeout(SOON_S):
            while self.ended < number:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def telling() -> AsyncIterator[tuple[Told, str, aiohttp.ClientSession]]:
    told = Told()
    async with served(told.app()) as url, aiohttp.ClientSession() as http:
        yield told, url, http


async def test_events_are_framed_and_the_stream_ends_with_the_last() -> None:
    async with telling() as (_, url, http), http.get(f"{url}/short") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        retry, turn, rest = (await answer.read()).split(b"\n\n")
        assert 500 <= int(retry.removeprefix(b"retry: ")) <= 2_000
        assert turn == b'event: turn\ndata: {"position":1}'
        assert rest == b""


async def test_whoever_leaves_leaves_nothing_behind() -> None:
    async with telling() as (told, url, http):
        for _ in range(3):
            async with http.get(f"{url}/long") as answer:
                await answer.content.readuntil(HEARTBEAT)
                answer.close()
        await told.until_ended(3)
        assert told.began == 3


async def test_all_end_like_complete_ones_when_the_process_does() -> None:
    async with telling() as (told, url, http), http.get(f"{url}/long") as listening:
        await listening.content.readuntil(HEARTBEAT)
        told.streams.end()
        assert (await listening.read()).replace(HEARTBEAT, b"") == b""
        assert told.ended == 1
        async with http.get(f"{url}/long") as too_late:
            assert (too_late.status, await too_late.read()) == (200, b"")
        assert told.began == 1


async def test_one_that_fails_does_not_look_complete() -> None:
    async with telling() as (told, url, http), http.get(f"{url}/broken") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
        assert told.ended == 1
