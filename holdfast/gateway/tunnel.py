"""Web sockets through the front door: two connections, and each message handed from one to the other.

The upstream decides whether there is a web socket, and with which subprotocol; its refusal is the
client's answer. Messages go on whole, in both directions no faster than they are taken; when one
side closes, the other hears the same code. Pings are answered on each side by itself: they find a
dead peer, but do not keep a pair that says nothing. Nothing is compressed: it would cost memory for
every connection.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from holdfast.gateway.connections import Connections
from holdfast.gateway.headers import Header, answered_on, asked_on
from holdfast.gateway.passage import KEY

LARGEST_MESSAGE = 1024 * 1024  # of an upstream; a client's are bounded by the server
READ_AHEAD = 4  # messages
CLOSE_WITHIN_S = 2.0
OF_THE_HANDSHAKE = b"sec-websocket-"
SENT_FOR: Mapping[
    int, int
] = {  # two that are never sent: they only tell that there was no code, or no close at all
    CloseCode.NO_STATUS_RCVD: CloseCode.NORMAL_CLOSURE,
    CloseCode.ABNORMAL_CLOSURE: CloseCode.GOING_AWAY,
}


class Closing(NamedTuple):
    by_client: bool
    code: int
    reason: str = ""


async def connect(scope: Scope, connections: Connections) -> ClientConnection:
    """The upstream's side, once it has agreed."""
    (_, host), *headers = asked_on(scope, scope[KEY])
    at = WebSocketURI(  # not parsed from a text: nothing in it is to be understood
        secure=False,
        host=host.decode("latin-1"),
        port=80,
        path=scope["raw_path"].decode(),
        query=scope["query_string"].decode(),
    )
    offered = [Subprotocol(name) for name in scope["subprotocols"]] or None
    protocol = ClientProtocol(at, subprotocols=offered, max_size=LARGEST_MESSAGE)
    _, upstream = await asyncio.get_running_loop().create_connection(
        lambda: ClientConnection(protocol, max_queue=READ_AHEAD, close_timeout=CLOSE_WITHIN_S),
        *(connections.host, connections.port),
        ssl=connections.ssl,
    )
    try:
        await upstream.handshake(_texts(_but_the_handshakes(headers)), None)
    except BaseException:
        upstream.transport.abort()
        raise
    upstream.start_keepalive()
    return upstream


async def refuse(send: Send, answer: Response) -> None:
    """Hand the upstream's refusal on."""
    headers = [header for header in _answered(answer) if header[0] != b"content-length"]
    await send(
        {
            "type": "websocket.http.response.start",
            "status": answer.status_code,
            "headers": headers,
        }
    )
    await send({"type": "websocket.http.response.body", "body": bytes(answer.body or b"")})


async def join(receive: Receive, send: Send, upstream: ClientConnection, silent_s: float) -> None:
    """Hand messages on until one side closes, or neither has said anything for so long."""
    agreed = _answered(upstream.response) if upstream.response else []
    async with upstream:
        await send(
            {
                "type": "websocket.accept",
                "subprotocol": upstream.subprotocol,
                "headers": _but_the_handshakes(agreed),
            }
        )
        closing = await _Pair(receive, send, upstream, silent_s).closing()
        if not closing.by_client:
            with suppress(OSError):  # it may have left in the meantime
                await send(
                    {"type": "websocket.close", "code": closing.code, "reason": closing.reason}
                )
        await upstream.close(closing.code, closing.reason)


class _Pair:
    def __init__(
        self, receive: Receive, send: Send, upstream: ClientConnection, silent_s: float
    ) -> None:
        self._receive = receive
        self._send = send
        self._upstream = upstream
        self._silent_s = silent_s
        self._heard_at = time.monotonic()

    async def closing(self) -> Closing:
        """Who ended it, and how; until then messages go both ways."""
        ways = [asyncio.create_task(self._inward()), asyncio.create_task(self._outward())]
        try:
            while (left_s := self._heard_at + self._silent_s - time.monotonic()) > 0:
                await asyncio.wait(ways, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    if way.done():
                        return way.result()
        finally:
            for way in ways:
                way.cancel()
        return Closing(
            by_client=False, code=CloseCode.GOING_AWAY, reason="Nothing was said for too long."
        )

    async def _inward(self) -> Closing:
        while (message := await self._receive())["type"] == "websocket.receive":
            self._heard_at = time.monotonic()
            text = message.get("text")
            with suppress(ConnectionClosed):  # `_outward` hears it, after what was said before
                await self._upstream.send(message["bytes"] if text is None else text)
        code = message["code"]
        return Closing(
            by_client=True, code=SENT_FOR.get(code, code), reason=message.get("reason") or ""
        )

    async def _outward(self) -> Closing:
        try:
            while True:
                said = await self._upstream.recv()
                self._heard_at = time.monotonic()
                kind = "text" if isinstance(said, str) else "bytes"
                await self._send({"type": "websocket.send", kind: said})
        except OSError:
            return Closing(by_client=True, code=CloseCode.GOING_AWAY)
        except ConnectionClosed as closed:
            told = closed.rcvd or closed.sent
            if told is None:
                return Closing(by_client=False, code=CloseCode.BAD_GATEWAY)
            code = SENT_FOR.get(told.code, told.code)
            return Closing(by_client=False, code=code, reason=told.reason)


def _answered(answer: Response) -> list[Header]:
    told = answer.headers.raw_items()
    return answered_on([(name.lower().encode(), value.encode("latin-1")) for name, value in told])


def _but_the_handshakes(headers: list[Header]) -> list[Header]:
    """Each side shakes hands for itself."""
    return [header for header in headers if not header[0].startswith(OF_THE_HANDSHAKE)]


def _texts(headers: list[Header]) -> Headers:
    return Headers([(name.decode(), value.decode("latin-1")) for name, value in headers])
