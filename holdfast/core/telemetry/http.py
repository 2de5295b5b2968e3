"""What HTTP requests cost: counted by method, route and status class, and timed.

`observed` wraps an application (pure ASGI); `exposed` opens the process's metrics port with
`/metrics` for Prometheus and `/figures` for people. A route is named by its template: the
dispatcher of hot routes puts it at `scope["holdfast.route"]`, otherwise the framework's routing
tells it; whatever matched no route is "other", so that strangers cannot grow the memory. A stream
of events is counted when it begins, and timed until then: how long it goes on is no latency.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TypedDict

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.sse import tells_events
from holdfast.core.telemetry import logs, process
from holdfast.core.telemetry.metrics import (
    CONTENT_TYPE,
    PROCESS,
    Counter,
    Histogram,
    Registry,
)
from holdfast.core.telemetry.port import Page, listening

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


class Buckets(TypedDict):
    """`counts[i]` requests took at most `le_ms[i]`; the last count is for all slower ones."""

    le_ms: list[float]
    counts: list[int]


class RouteFigures(TypedDict):
    method: str
    route: str
    requests: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    buckets: Buckets


class Figures(TypedDict):
    requests: int
    errors: int
    in_flight: int
    routes: list[RouteFigures]


class Requests:
    """The families that requests are counted in; where they are kept is the registry's matter."""

    def __init__(self, registry: Registry) -> None:
        self.done = registry.counter(
            "holdfast_http_requests_total", "Requests answered.", "method", "route", "status"
        )
        self.duration = registry.histogram(
            "holdfast_http_request_duration_seconds",
            "From the request's arrival until its handler was done, or its stream of events began.",
            *("method", "route"),
        )
        self.in_flight = registry.gauge(
            "holdfast_http_requests_in_flight", "Requests being handled."
        ).of()
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def figures(self) -> Figures:
        routes = [
            self._route_figures(method, route, duration)
            for (method, route), duration in self.duration.items()
        ]
        return {
            "requests": sum(route["requests"] for route in routes),
            "errors": sum(route["errors"] for route in routes),
            "in_flight": int(self.in_flight.value),
            "routes": routes,
        }

    def _route_figures(self, method: str, route: str, duration: Histogram) -> RouteFigures:
        return {
            "method": method,
            "route": route,
            "requests": duration.count,
            "errors": int(self.done.of(method, route, "5xx").value),
            "p50_ms": duration.quantile(0.50) * 1000,
            "p95_ms": duration.quantile(0.95) * 1000,
            "p99_ms": duration.quantile(0.99) * 1000,
            "buckets": {
                "le_ms": [bound * 1000 for bound in duration.bounds],
                "counts": duration.counts,
            },
        }

    def note(self, scope: Scope, status: int, began: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        kind = (method, route_of(scope), status // 100)
        series = self._series.get(kind)
        if series is None:
            series = self._series[kind] = self._begin(*kind)
        done, duration = series
        done.add()
        duration.observe(perf_counter() - began)

    def _begin(self, method: str, route: str, status_class: int) -> tuple[Counter, Histogram]:
        self.done.of(method, route, "5xx")  # from zero, or the first would be no increase
        done = self.done.of(method, route, f"{status_class}xx")
        return done, self.duration.of(method, route)


def observed(app: ASGIApp, registry: Registry = PROCESS) -> ASGIApp:
    """The application, with every HTTP request counted, timed and known to the logs."""
    requests = Requests(registry)

    async def observe(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        status = 500
        noted = False

        def watch(message: Message) -> Awaitable[None]:  # no coroutine: it is for every message
            nonlocal status, noted
            if message["type"] == "http.response.start":
                status = message["status"]
                if tells_events(message.get("headers", ())):
                    requests.note(scope, status, began)
                    noted = True
            return send(message)

        known_to_logs = logs.request.set(scope)
        requests.in_flight.add()
        began = perf_counter()
        try:
            await app(scope, receive, watch)
        finally:
            if not noted:
                requests.note(scope, status, began)
            requests.in_flight.add(-1)
            logs.request.reset(known_to_logs)

    return observe


def route_of(scope: Scope) -> str:
    """The template that the request matched, once it was routed; never its path."""
    hot: str | None = scope.get("holdfast.route")
    if hot is not None:
        return hot
    # FastAPI keeps an included route as it was declared; the prefixes are in its context.
    matched = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    return str(getattr(matched, "path", OTHER))


@asynccontextmanager
async def exposed(
    port: int, registry: Registry = PROCESS, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Serves `/metrics` and `/figures` meanwhile; yields the port, for 0 takes a free one."""
    requests = Requests(registry)

    def metrics() -> bytes:
        return registry.render().encode()

    def figures() -> bytes:
        return msgspec.json.encode({**requests.figures(), "loop_lag_ms": lag.value * 1000})

    pages: dict[str, Page] = {
        "/metrics": (CONTENT_TYPE, metrics),
        "/figures": ("application/json", figures),
    }
    async with process.watched(registry) as lag, listening(host, port, pages) as bound:
        yield bound
