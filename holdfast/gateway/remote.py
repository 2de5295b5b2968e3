"""An upstream behind the network: a request handed on over HTTP/1.1, and its answer handed back.

Bodies go both ways piece by piece, no faster than they are read on the other side. Whatever begins
as an answer and does not end as one is cut off, so that nobody takes a part for the whole. A client
that leaves ends what was asked for it. An upstream that fails as often as not is left alone for a
while. What may be asked twice is asked again when no byte of an answer came, inside a budget; an
answer of any kind is never asked for again, for a busy service is not helped by more questions.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import ClassVar

import msgspec
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import InvalidStatus, WebSocketException

from holdfast.core.breaker import STATES, Breaker, BreakerOpenError, State, Window
from holdfast.core.errors import BusyError, ProblemError
from holdfast.core.sse import tells_events
from holdfast.core.telemetry.metrics import PROCESS
from holdfast.gateway import tunnel
from holdfast.gateway.connections import Connection, ConnectionLostError, Connections
from holdfast.gateway.exchange import Exchange, LeftError, OverdueError, StoppingError
from holdfast.gateway.headers import answered_on
from holdfast.gateway.passage import KEY, LateError
from holdfast.gateway.table import Table

MOST_AT_ONCE = 1_000  # requests that wait for one upstream
LOOK_EVERY_S = 0.05  # most answers have come by the first look, and never cost a timer
OUTCOMES = ("answered", "failed", "cut")
WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

states = PROCESS.gauge(
    "holdfast_gateway_breaker",
    "1 for the state that an upstream's breaker is in.",
    *("upstream", "state"),
)
outcomes = PROCESS.counter(
    "holdfast_gateway_upstream_total",
    "What became of requests to an upstream over the network.",
    *("upstream", "outcome"),
)
log = logging.getLogger(__name__)


class UpstreamAwayError(ProblemError):
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_GATEWAY
    sentence = (
        "The service behind this address did not answer. It may have been done nevertheless:"
        " look before you repeat."
    )


class UpstreamFullError(BusyError):
    sentence = "Too many requests wait for this service at this moment. Try again shortly."


class Remote:
    def __init__(self, name: str, url: str, table: Table) -> None:
        self.name = name
        self._connections = Connections(url)
        self._breaker = Breaker(**msgspec.structs.asdict(table.breaker))
        self._retries = table.retries
        self._asked = Window(table.breaker.window_s)  # marked: again
        self._unanswered: set[Exchange] = set()
        for state in STATES:
            states.of(name, state).watch(partial(self._is_in, state))
        for outcome in (*OUTCOMES, LateError.name, UpstreamAwayError.name, BreakerOpenError.name):
            outcomes.of(name, outcome)  # from zero, or the first of its kind would be no increase

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._look_after_the_unanswered())
        try:
            yield
        finally:
            looking.cancel()
            self._connections.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hand_on = self._web_socket if scope["type"] == "websocket" else self._request
        outcome = "fault"  # of ours
        try:
            outcome = await hand_on(scope, receive, send)
        except asyncio.CancelledError:
            outcome = "left"
            raise
        except ProblemError as problem:
            outcome = problem.name
            raise
        finally:
            outcomes.of(self.name, outcome).add()

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> str:
        exchange = Exchange(scope, receive)
        try:
            first = await exchange.first()
            connection = await self._answer(exchange, first)
            if not connection.whole:
                return await self._go_on(exchange, connection, send)
            body, _ = await connection.piece()  # as nearly always
            self._release(exchange)  # the client may take its time
            await send(_start(connection))
            await send({"type": "http.response.body", "body": body})
            return _outcome(connection.status)
        except LeftError:
            return "left"
        finally:
            self._release(exchange)

    async def _answer(self, exchange: Exchange, first: bytes) -> Connection:
        """Where an answer has begun: at the first asking, or at another where that is allowed."""
        if len(self._unanswered) >= MOST_AT_ONCE:
            raise UpstreamFullError
        self._unanswered.add(exchange)
        self._asked.note()
        repeatable = exchange.bodiless and exchange.method in self._retries.methods
        more = self._retries.most if repeatable else 0
        fresh = False
        try:
            while True:
                try:
                    return await self._ask(exchange, first, fresh=fresh)
                except UpstreamAwayError:
                    asked, again = self._asked.counts
                    if not more or again >= self._retries.budget * asked:
                        raise
                self._asked.note(every=0, marked=1)
                outcomes.of(self.name, "asked-again").add()
                more, fresh = more - 1, True
        finally:
            self._unanswered.discard(exchange)

    async def _ask(self, exchange: Exchange, first: bytes, *, fresh: bool) -> Connection:
        with self._breaker.call() as call:
            try:
                connection = await self._connections.take(exchange.passage.deadline, fresh=fresh)
                exchange.ask(connection, first)
                await connection.answered()
            except (OverdueError, TimeoutError) as error:
                if not exchange.sending:  # otherwise it was perhaps the client that took so long
                    call.end(good=False)
                raise LateError from error
            except (ConnectionLostError, OSError) as error:
                call.end(good=False)
                raise UpstreamAwayError from error
            call.end(good=not _is_failure(connection.status))
            return connection

    async def _go_on(self, exchange: Exchange, connection: Connection, send: Send) -> str:
        """Hand an answer on as it comes."""
        exchange.listen(end_with_process=tells_events(connection.headers))
        more = True
        try:
            await send(_start(connection))
            while more:
                async with asyncio.timeout(exchange.passage.route.timeout_s):  # for either side
                    body, more = await connection.piece()
                    await send({"type": "http.response.body", "body": body, "more_body": more})
        except StoppingError:
            await send({"type": "http.response.body"})
        except (ConnectionLostError, TimeoutError) as error:
            log.warning("%s: an answer was cut off: %r", self.name, error)
            return "cut"
        return _outcome(connection.status)

    async def _web_socket(self, scope: Scope, receive: Receive, send: Send) -> str:
        passage = scope[KEY]
        await receive()  # that the client wants one
        with self._breaker.call() as call:
            try:
                async with asyncio.timeout(passage.deadline - time.monotonic()):
                    upstream = await tunnel.connect(scope, self._connections)
            except InvalidStatus as refusal:
                status = refusal.response.status_code
                call.end(good=not _is_failure(status))
                await tunnel.refuse(send, refusal.response)
                return _outcome(status)
            except TimeoutError as error:
                call.end(good=False)
                raise LateError from error
            except (OSError, WebSocketException) as error:
                call.end(good=False)
                raise UpstreamAwayError from error
            call.end(good=True)
        try:
            await tunnel.join(receive, send, upstream, passage.route.timeout_s)
        except OSError:  # from the server: there is nobody to accept for
            return "left"
        return "answered"

    @property
    def state(self) -> State:
        """Of its breaker."""
        return self._breaker.state

    def _is_in(self, state: State) -> bool:
        return self.state == state

    def _release(self, exchange: Exchange) -> None:
        if (connection := exchange.end()) is not None:
            self._connections.give_back(connection)

    async def _look_after_the_unanswered(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            # Rather a look early than late: the door looks too, and does not know the breaker.
            before_next = time.monotonic() + LOOK_EVERY_S
            for exchange in tuple(self._unanswered):
                exchange.look(before_next)


def _start(connection: Connection) -> Message:
    headers = answered_on(connection.headers)
    if connection.status in WITHOUT_BODY:  # the server would wait for what is announced
        headers = [header for header in headers if header[0] != b"content-length"]
    return {"type": "http.response.start", "status": connection.status, "headers": headers}


def _is_failure(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _outcome(status: int) -> str:
    return "failed" if _is_failure(status) else "answered"
