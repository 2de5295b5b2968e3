"""The live view's figures: read seldom, added up, and told to operators only."""

import asyncio
import time

import pytest

from holdfast.core.telemetry.metrics import CONTENT_TYPE
from holdfast.core.telemetry.port import listening
from holdfast.gateway.home.client import Supervisor
from holdfast.gateway.home.schemas import Buckets
from holdfast.gateway.live import cache
from holdfast.gateway.live.cache import FRESH_S, Watch
from holdfast.gateway.live.rules import combine
from holdfast.gateway.live.schemas import BreakerFigures
from holdfast.gateway.tests.conftest import SETTINGS, Door

METRICS = """\
# HELP holdfast_orders_total Orders asked for, by what became of them.
# TYPE holdfast_orders_total counter
holdfast_orders_total{outcome="placed"} 40
holdfast_orders_total{outcome="sold-out"} 2
holdfast_orders_queued 3
holdfast_gateway_refused_total{reason="too-many-requests"} 5
holdfast_gateway_breaker{upstream="catalog",state="closed"} 1
holdfast_gateway_breaker{upstream="catalog",state="open"} 0
holdfast_gateway_breaker{upstream="orders",state="half_open"} 1
holdfast_http_request_duration_seconds_bucket{method="GET",route="/api/v1/orders",le="0.001"} 9
holdfast_http_request_duration_seconds_bucket{method="POST",route="/api/v1/orders",le="0.001"} 30
holdfast_http_request_duration_seconds_bucket{method="POST",route="/api/v1/orders",le="0.002"} 41
holdfast_http_request_duration_seconds_bucket{method="POST",route="/api/v1/orders",le="+Inf"} 42
"""


def test_figures_of_workers_are_added_up() -> None:
    figures = combine({"a": METRICS, "b": METRICS, "c": None}, 1.5)
    assert (figures.answering, figures.silent) == (["a", "b"], ["c"])
    assert figures.orders == {"placed": 80, "sold-out": 4}
    assert figures.queued == 6
    assert figures.refused == {"too-many-requests": 10}
    assert figures.breakers == [
        BreakerFigures("catalog", {"closed": 2}),
        BreakerFigures("orders", {"half_open": 2}),
    ]
    assert figures.place_order == Buckets([1.0, 2.0], [60, 22, 2])


def test_what_nobody_tells_is_nothing() -> None:
    figures = combine({"a": ""}, 1.5)
    assert (figures.orders, figures.queued, figures.refused, figures.breakers) == ({}, 0, {}, [])
    assert figures.place_order == Buckets([], [])


class Clock:
    """The time of the watch, which stands still until it is told to pass."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


async def test_many_watchers_cost_one_reading(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    read, clock = 0, Clock()
    monkeypatch.setattr(cache, "time", clock)

    def metrics() -> bytes:
        nonlocal read
        read += 1
        return METRICS.encode()

    async with listening("127.0.0.1", 0, {"/metrics": (CONTENT_TYPE, metrics)}) as port:
        door.supervise({"name": "a", "metrics_port": port})
        watch = Watch(Supervisor(str(door.run_file), SETTINGS))
        told = await asyncio.gather(*(watch.figures() for _ in range(50)))
        assert [figures.orders["placed"] for figures in told] == [40] * 50
        assert read == 1
        clock.now += FRESH_S
        assert (await watch.figures()) is not told[0]
        assert read == 2


async def test_show_live_figures_asks_who_it_is(door: Door) -> None:
    async with door.client.get("/api/v1/live/figures") as answer:
        assert answer.status == 401
