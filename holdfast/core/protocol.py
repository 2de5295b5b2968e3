"""HTTP/1.1 as uvicorn reads it, with an end to what a client may make us remember.

The parser keeps every byte of a head until it is whole, and would wait for it for ever. Here a head
has an end in bytes, in fields and in time; so have the trailers after a body, which are dropped:
they come too late to be anybody's headers. What cannot be read is answered as a problem, like
everything else. Bodies are the application's matter.
"""

from asyncio import TimerHandle, Transport
from http import HTTPStatus
from typing import ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from holdfast.core.errors import MalformedError, ProblemError
from holdfast.core.writing import Together

LARGEST_HEAD = 16 * 1024
MOST_FIELDS = 100
HEAD_WITHIN_S = 20.0
LINGER_S = 1.0  # a connection that is closed while its client still speaks loses what it was told


class HeadTooLargeError(ProblemError):
    status: ClassVar[HTTPStatus] = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    sentence = "The request line and headers are larger than this server reads. Send less of them."


class UnreadableError(MalformedError):
    sentence = "This is no HTTP/1.1 request that can be read in one way only."


class BoundedProtocol(HttpToolsProtocol):
    """The head's size is looked at only when so much came that it may be too large."""

    _together: Together
    _unread = 0  # bytes that became neither a whole head nor a body yet
    _at_most = 0  # bytes that the head that is being read can have
    _in_body = False
    _impatient: TimerHandle | None = None
    _problem: ProblemError | None = None
    _refused = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self._together = Together(transport)
        self.transport = self._together  # type: ignore[assignment]  # it is one as far as is needed
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unread = self._at_most = self._unread + len(data)
        super().data_received(data)
        if not self._unread or self._refused:
            return
        if self._unread > LARGEST_HEAD:
            self._refuse(HeadTooLargeError())
        elif self._impatient is None and not self._in_body:
            self._await_head()

    def handle_websocket_upgrade(self) -> None:
        self.transport = self._together.apart()
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        if self._at_most > LARGEST_HEAD or len(self.headers) > MOST_FIELDS:
            self._require_small_head()
        self._require_one_host()
        self._unread = 0
        self._in_body = True
        if self._impatient is not None:
            self._stop_waiting()
        super().on_headers_complete()
        self.headers = self.headers.copy()  # the trailers go into this one

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, not ours
        """Called by uvicorn for whatever its parser or a callback above refused."""
        self._refuse(self._problem or UnreadableError())

    def _require_small_head(self) -> None:
        # 4 is for `: ` and a line end.
        fields = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(self.url) + fields > LARGEST_HEAD or len(self.headers) > MOST_FIELDS:
            self._problem = HeadTooLargeError()
            raise self._problem

    def _require_one_host(self) -> None:
        """Asked for as of HTTP/1.1 (RFC 9112, 3.2); what came before HTTP/1.0 has no headers at all."""
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            raise UnreadableError

    def _refuse(self, problem: ProblemError) -> None:
        """End the connection: when what was asked before is answered, or saying why at once."""
        self._refused = True
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if cycle and not cycle.response_complete and not self._in_body:
            cycle.keep_alive = False
            return
        if not (cycle and cycle.response_started and not cycle.response_complete):
            self.transport.write(_answer(problem))
        self.flow.pause_reading()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _await_head(self) -> None:
        self._impatient = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._impatient is not None:
            self._impatient.cancel()
            self._impatient = None


def _answer(problem: ProblemError) -> bytes:
    body = msgspec.json.encode(problem.problem)
    head = (
        b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.status] + head % len(body) + body
