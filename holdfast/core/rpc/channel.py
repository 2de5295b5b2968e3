"""Calls of another service's gRPC methods: one connection for a process, a deadline for each call.

The connection is made when it is first needed, and made again when it is lost: while there is none,
calls fail at once. One that was cut without a word is noticed by pings. It is not encrypted, as
http:// is not: it is for a network of one's own. A call is repeated only if it was never taken up, as
when the server ends the connection at that moment; for all else, who asked knows best.
"""

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from holdfast.core.telemetry import logs

if TYPE_CHECKING:  # whoever has no channel does without these libraries: 14 MB
    import grpc
    from google.protobuf.message import Message

SCHEME = "grpc://"
PING_EVERY_S, PONG_WITHIN_S = 5.0, 2.0
CONNECT_WITHIN_S, CONNECT_AGAIN_S = 1.0, 0.1

Metadata = Sequence[tuple[str, str]]
Answer_co = TypeVar("Answer_co", bound="Message", covariant=True)


class CallError(Exception):
    """No answer that can be read; `status` is gRPC's word for why, such as UNAVAILABLE."""

    def __init__(self, method: str, status: str, detail: str | None = None) -> None:
        self.status = status
        super().__init__(f"{method}: {status}: {detail or 'no more is known'}")


class Method(Protocol[Answer_co]):
    def __call__(
        self, asked: "Message", *, within_s: float, metadata: Metadata = ()
    ) -> Awaitable[Answer_co]: ...


class Channel:
    def __init__(self, channel: "grpc.aio.Channel") -> None:
        self._channel = channel

    def method(self, name: str, answered: type[Answer_co]) -> Method[Answer_co]:
        """The method of this name, such as `holdfast.catalog.v1.Offers/ListOffers`."""
        from google.protobuf.message import DecodeError  # noqa: PLC0415
        from grpc.aio import AioRpcError  # noqa: PLC0415

        send: Any = self._channel.unary_unary(f"/{name}")

        async def call(asked: "Message", *, within_s: float, metadata: Metadata = ()) -> Answer_co:
            sent = (*metadata, *_context())
            try:
                body = await send(asked.SerializeToString(), timeout=within_s, metadata=sent)
                return answered.FromString(body)
            except AioRpcError as error:
                raise CallError(name, error.code().name, error.details()) from error
            except DecodeError as error:
                raise CallError(name, "UNREADABLE", str(error)) from error

        return call


@asynccontextmanager
async def connected(url: str, *, largest_answer: int) -> AsyncIterator[Channel]:
    """A channel to whoever listens at `grpc://host:port`."""
    import grpc.aio  # noqa: PLC0415

    options = {
        "grpc.keepalive_time_ms": PING_EVERY_S * 1000,
        "grpc.keepalive_timeout_ms": PONG_WITHIN_S * 1000,
        "grpc.http2.ping_timeout_ms": PONG_WITHIN_S * 1000,  # of other pings, which delay ours
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.max_pings_without_data": 0,  # as many as it takes
        "grpc.initial_reconnect_backoff_ms": CONNECT_AGAIN_S * 1000,
        "grpc.min_reconnect_backoff_ms": CONNECT_WITHIN_S * 1000,
        "grpc.max_reconnect_backoff_ms": CONNECT_WITHIN_S * 1000,
        "grpc.max_receive_message_length": largest_answer,
        "grpc.enable_http_proxy": 0,  # whatever the environment says: these are our own
    }
    async with grpc.aio.insecure_channel(
        url.removeprefix(SCHEME), options=[(name, int(value)) for name, value in options.items()]
    ) as channel:
        yield Channel(channel)


def _context() -> Iterator[tuple[str, str]]:
    """What tells the other side's logs for which request this is asked."""
    scope = logs.request.get()
    if scope is None:
        return
    yield "x-request-id", logs.request_id() or ""
    for name, value in scope["headers"]:
        if name == b"traceparent" and logs.TRACEPARENT.fullmatch(value):
            yield "traceparent", value.decode()
