"""Answers made smaller on their way out, where the upstream did not, and where it pays.

An answer that is whole is compressed at once and keeps a length; of one that comes in pieces each
piece is compressed and sent when it comes. What would hold the loop for longer than a millisecond or
so is done beside it. An upstream that chooses the encoding itself, because it makes the same bytes
for many, says so with `Vary`, and nothing is done here.
"""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from http import HTTPStatus

from starlette.types import Message, Send

from holdfast.core.compression import WORTH_COMPRESSING

LEVEL = 4  # nearly as small as 6, in two thirds of the time
GZIP = 31  # zlib's name for the format
BESIDE_THE_LOOP = 64 * 1024
FEWEST_DIGITS = len(str(WORTH_COMPRESSING))
ENCODED_OR_PART = frozenset({b"content-encoding", b"content-range"})
LOOKED_AT = ENCODED_OR_PART | {b"content-type", b"content-length", b"cache-control", b"vary"}
NOT_WHOLE_OR_EMPTY = frozenset(
    {HTTPStatus.NO_CONTENT, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED}
)
TEXTS = frozenset({b"json", b"xml", b"yaml", b"javascript", b"ecmascript", b"manifest+json"})

Headers = Sequence[tuple[bytes, bytes]]


def pays(start: Message, headers: Headers) -> bool:
    """Whether an answer that starts so would be smaller, and may be."""
    if start["type"] != "http.response.start" or start["status"] in NOT_WHOLE_OR_EMPTY:
        return False
    text = False
    for name, value in headers:
        if name not in LOOKED_AT:
            continue
        if name == b"content-type":
            text = is_text(value)
        elif name == b"content-length":
            if len(value) < FEWEST_DIGITS:
                return False
        elif name in ENCODED_OR_PART or is_decided(value):
            return False
    return text


@lru_cache(256)
def is_decided(told: bytes) -> bool:
    """Whether `Cache-Control` forbids it, or `Vary` says that the upstream chose the encoding."""
    words = told.lower()
    return b"no-transform" in words or b"accept-encoding" in words


@lru_cache(256)
def is_text(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    main, _, sub = kind.partition(b"/")
    if main == b"text":
        return sub != b"event-stream"  # each event goes out when it happens
    return sub in TEXTS or sub.endswith((b"+json", b"+xml"))


class Zipped:
    """In place of an answer's `send`, from its start on."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._zip: zlib._Compress | None = None

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            self._start = message  # held until it is known how the body comes
            return
        if self._start is not None:
            await self._begin(self._start, message)
            self._start = None
        elif self._zip is not None:
            await self._send(await self._next(self._zip, message))
        else:
            await self._send(message)

    async def _begin(self, start: Message, first: Message) -> None:
        body = first.get("body", b"")
        if first.get("more_body"):
            self._zip = zlib.compressobj(LEVEL, wbits=GZIP)
            start["headers"] = encoded(start["headers"])
            first = await self._next(self._zip, first)
        elif len(body) >= WORTH_COMPRESSING:
            small = await _here_or_beside(partial(zlib.compress, level=LEVEL, wbits=GZIP), body)
            start["headers"] = [
                *encoded(start["headers"]),
                (b"content-length", b"%d" % len(small)),
            ]
            first = {"type": "http.response.body", "body": small}
        await self._send(start)
        await self._send(first)

    async def _next(self, zipping: "zlib._Compress", message: Message) -> Message:
        more = message.get("more_body", False)
        flush = zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH  # nobody waits for the next piece

        def compress(body: bytes) -> bytes:
            return zipping.compress(body) + zipping.flush(flush)

        small = await _here_or_beside(compress, message.get("body", b""))
        return {"type": "http.response.body", "body": small, "more_body": more}


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Of the same answer as gzip: another length, and a tag that says as good as, not the same."""
    changed = [(b"content-encoding", b"gzip")]
    for name, value in headers:
        if name == b"etag" and not value.startswith(b"W/"):
            changed.append((name, b"W/" + value))
        elif name != b"content-length":
            changed.append((name, value))
    return changed


async def _here_or_beside(compress: Callable[[bytes], bytes], body: bytes) -> bytes:
    if len(body) <= BESIDE_THE_LOOP:
        return compress(body)
    return await asyncio.to_thread(compress, body)
