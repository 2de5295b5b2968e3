"""Server-sent events: an answer that goes on, event by event, until there is no more to tell.

    async def turns() -> AsyncGenerator[bytes]:
        while ...:
            yield event("turn", msgspec.json.encode(turn))  # JSON as bytes; it has no line breaks
            ...  # and at least every HEARTBEAT_S something, if only HEARTBEAT

    return EventStream(turns())

Refuse before that: once the stream is returned the answer is a 200. The generator is closed, so its
`finally` runs, when the client leaves and when this process is told to stop. Then the stream ends
like a complete one, and a browser's EventSource comes again on its own, to whoever serves next. It
does so after every end: a page closes its EventSource when it has heard the last event. Nothing is
told twice or kept for later; the first event of a stream says how things are.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEARTBEAT_S = 4.0  # what sits between may take a silent connection for a dead one
HEARTBEAT = b":\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
COME_AGAIN_MS = (500, 2_000)  # everybody whose worker stopped must not be back in the same moment


def event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


def tells_events(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer with these headers is such a stream."""
    for name, value in headers:
        if name == b"content-type":
            return value.startswith(b"text/event-stream")
    return False


class Streams:
    """All that a process has open."""

    def __init__(self) -> None:
        self._telling: set[asyncio.Task[None]] = set()
        self._ended = False

    def end(self) -> None:
        """Let every listener go, and whoever comes from now on at once."""
        self._ended = True
        for telling in self._telling:
            telling.cancel()

    def add(self, telling: asyncio.Task[None]) -> None:
        if self._ended:
            telling.cancel()
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)


PROCESS = Streams()


class EventStream(Response):
    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes], streams: Streams = PROCESS) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._frames = frames
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        telling = asyncio.create_task(self._tell(send))
        leaving = asyncio.create_task(_left(receive))
        leaving.add_done_callback(lambda _: telling.cancel())
        self._streams.add(telling)
        try:
            await asyncio.wait({telling})
        finally:
            leaving.cancel()
        if not telling.cancelled():
            telling.result()
        await send({"type": "http.response.body"})

    async def _tell(self, send: Send) -> None:
        async with aclosing(self._frames) as frames:
            await _send(send, b"retry: %d\n\n" % random.randint(*COME_AGAIN_MS))  # noqa: S311 - no secret
            async for frame in frames:
                await _send(send, frame)


async def _send(send: Send, frame: bytes) -> None:
    await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
