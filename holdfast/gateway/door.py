"""The front door: who comes in, by which way, and on which terms. It stands before all upstreams.

For every request it finds the route in the table, counts the limits, looks at the token where the
route asks for one, bounds the body and the time until the answer begins; and it refuses early when
too much is under way. What an upstream then does is the upstream's matter; where it is, in this
process or behind the network, makes no difference here. A hot route's whole work is a few dozen
microseconds, so the way through is short and straight: whatever is seldom needed is beside it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import lru_cache
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.breaker import BreakerOpenError
from holdfast.core.callers import CLAIMS, verifier
from holdfast.core.errors import (
    BusyError,
    NotFoundError,
    ProblemError,
    TooLargeError,
    UnauthenticatedError,
)
from holdfast.core.limits import Limits, TooManyRequestsError
from holdfast.core.redis import connect
from holdfast.core.settings import Settings
from holdfast.core.telemetry.metrics import PROCESS
from holdfast.core.web import BOUNDED, problem_response
from holdfast.gateway.browsers import Browsers
from holdfast.gateway.cors import Cors
from holdfast.gateway.lanes import Lane, lanes
from holdfast.gateway.options import Options
from holdfast.gateway.passage import KEY, LateError, Passage
from holdfast.gateway.paths import plain
from holdfast.gateway.proxies import Proxies, peer_of
from holdfast.gateway.remote import Remote, UpstreamAwayError
from holdfast.gateway.table import Table
from holdfast.gateway.visit import Bounded, Visit

OWN = "gateway"  # the upstream in this process that is always there
PATHS_REMEMBERED = 4_096
LONGEST_REMEMBERED = 256
LOOK_FOR_LATE_ONES_EVERY_S = 0.1

refused = PROCESS.counter(
    "holdfast_gateway_refused_total", "Requests that the front door refused.", "reason"
)
under_way = PROCESS.gauge(
    "holdfast_gateway_under_way", "Requests that an upstream is working on.", "kind"
)
at_most = PROCESS.gauge("holdfast_gateway_at_most", "As many may be under way.", "kind")


class OverloadedError(BusyError):
    sentence = "Too many requests are under way at this moment. Try again shortly."


TURNED_AWAY = (
    OverloadedError,
    TooManyRequestsError,
    LateError,
    UpstreamAwayError,
    BreakerOpenError,
)
for error in TURNED_AWAY:
    refused.of(error.name)  # from zero, or the first of its kind would be no increase


class Door:
    def __init__(
        self,
        settings: Settings,
        options: Options,
        table: Table,
        upstreams: Mapping[str, ASGIApp],
    ) -> None:
        self._settings = settings
        self._table = table
        self._upstreams = upstreams
        self._lanes = lanes(table, upstreams, options)
        self._lane_of = lru_cache(PATHS_REMEMBERED)(self._find)
        self._proxies = Proxies(settings.trusted_proxies)
        self._cors = Cors(options.cors_origins) if options.cors_origins else None
        self._tokens = verifier(settings)
        self._browsers = Browsers(settings, upstreams["identity"])
        self._limits: Limits | None = None
        self._waiting: set[Visit] = set()
        for lane in self._lanes.values():
            kind = "stream" if lane.route.stream else "request"
            under_way.of(kind).watch(lane.room.count)
            at_most.of(kind).set(lane.room.most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with self._open():
                await self._upstreams[OWN](scope, receive, send)
            return
        visit = Visit(scope, send, self._cors)
        lane = None
        try:
            path = scope["raw_path"]
            lane = (self._lane_of if len(path) <= LONGEST_REMEMBERED else self._find)(path)
            room = lane.room
            if room.taken >= room.most and not lane.always:
                raise OverloadedError
            room.taken += 1
            try:
                if self._cors and (preflight := self._cors.preflight(scope, visit.origin)):
                    await _send_empty(visit, preflight)
                    return
                if self._is_unknown(visit, lane):
                    await self._identify(visit, lane)
                if visit.chunked:
                    receive = Bounded(receive, lane.largest_body).receive
                self._waiting.add(visit)
                await lane.upstream(scope, receive, visit.send)
            finally:
                room.taken -= 1
                self._waiting.discard(visit)
        except ProblemError as problem:
            await self._refuse(visit, lane, problem, receive)
        except asyncio.CancelledError:
            if not visit.late or (visit.task and visit.task.uncancel()):
                raise
            await self._refuse(visit, lane, LateError(), receive)

    def _is_unknown(self, visit: Visit, lane: Lane) -> bool:
        """Refuse what can be refused by what is known here; whether the caller must be found out."""
        scope = visit.scope
        if scope["type"] == "websocket" and not lane.streams:
            raise NotFoundError
        if visit.body_bytes is not None and int(visit.body_bytes) > lane.largest_body:
            raise TooLargeError
        known = not (self._proxies.any or visit.forwarded)
        client = peer_of(scope) if known else self._proxies.client_of(scope)
        claims = self._tokens.remembered(visit.token) if visit.token else None
        if self._limits is not None:
            spends = lane.charges.of_address(client)
            if claims is not None:
                spends = (*spends, *lane.charges.of_user(claims.sub.int))
            self._limits.admit_here(*spends)
        visit.zippable = not lane.streams
        visit.task = asyncio.current_task()
        now = time.monotonic()
        visit.ends_at = now + lane.ended_after_s
        if lane.apart:
            scope[KEY] = Passage(lane.route, visit.request_id, client, now + lane.timeout_s)
            scope["holdfast.route"] = lane.route.path  # for the metrics
        else:
            scope[BOUNDED] = True
        if claims is not None:
            scope[CLAIMS] = claims
            return False
        return visit.token is not None or visit.cookie or lane.signed_in

    def _find(self, raw_path: bytes) -> Lane:
        route = self._table.find(plain(raw_path))
        if route is None:
            raise NotFoundError
        return self._lanes[route.path]

    async def _identify(self, visit: Visit, lane: Lane) -> None:
        """Whose token it is. On a public route it may be nobody's: its service asks if it must know.

        The address is charged before, so that strangers cannot have signatures checked without end.
        """
        try:
            token = visit.token or await self._token_of_page(visit, lane)
            claims = self._tokens.remembered(token) or await self._tokens.verify(token)
        except (UnauthenticatedError, BusyError):
            if lane.signed_in:
                raise
            return
        visit.scope[CLAIMS] = claims
        if self._limits is not None:
            self._limits.admit_here(*lane.charges.of_user(claims.sub.int))

    async def _token_of_page(self, visit: Visit, lane: Lane) -> bytes:
        """From here on it is as if the page had sent the token itself."""
        token = None
        if lane.for_pages and visit.cookie and not visit.has_authorization:
            token = await self._browsers.token_for(visit.scope)
        if token is None:
            raise UnauthenticatedError
        headers = visit.scope["headers"]
        visit.scope["headers"] = [*headers, (b"authorization", b"Bearer " + token)]
        return token

    async def _refuse(
        self, visit: Visit, lane: Lane | None, problem: ProblemError, receive: Receive
    ) -> None:
        refused.of(problem.name).add()
        if visit.begun:
            raise problem  # too late to say so: the connection ends
        scope = visit.scope
        if lane is not None and "route" not in scope:
            scope.setdefault("holdfast.route", lane.route.path)
        await problem_response(problem)(scope, receive, visit.send)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_meanwhile(self._end_late_ones()))
            for upstream in self._upstreams.values():
                if isinstance(upstream, Remote):
                    await stack.enter_async_context(upstream.open())
            if self._settings.limits == "on":
                redis = await stack.enter_async_context(connect(self._settings))
                self._limits = Limits(redis)
                await stack.enter_async_context(_meanwhile(self._limits.agree_for_ever()))
            yield

    async def _end_late_ones(self) -> None:
        """One look at all of them now and then: a timer for each would cost more than the rest of
        the way through the door.
        """
        while True:
            await asyncio.sleep(LOOK_FOR_LATE_ONES_EVERY_S)
            now = time.monotonic()
            for visit in list(self._waiting):
                if visit.begun:
                    self._waiting.discard(visit)
                elif visit.ends_at < now and visit.task is not None:
                    self._waiting.discard(visit)
                    visit.late = True
                    visit.task.cancel()


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _send_empty(visit: Visit, start: Message) -> None:
    await visit.send(start)
    await visit.send({"type": "http.response.body"})
