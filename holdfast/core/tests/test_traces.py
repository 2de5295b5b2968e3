"""Against a collector of our own: a web server that keeps what is posted to it."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from holdfast.core.telemetry import logs
from holdfast.core.telemetry.http import observed
from holdfast.core.telemetry.metrics import Registry
from holdfast.core.telemetry.traces import traced

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.url = ""

    async def receive(self, request: web.Request) -> web.Response:
        export = ExportTraceServiceRequest.FromString(await request.read())
        for resource in export.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


Call = Callable[..., Any]


@pytest.fixture
def call(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Makes a traced application and calls it once."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")

    async def greet(request: Request) -> Response:
        if request.path_params["name"] == "nobody":
            return PlainTextResponse("no", status_code=503)
        return PlainTextResponse(f"{logs.trace_id()} {span_in_flight()}")

    app = observed(Starlette(routes=[Route("/greet/{name}", greet)]), Registry())

    async def once(path: str, *, ratio: str, traceparent: str = "") -> str:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER_ARG": ratio,
        }
        headers = [(b"traceparent", traceparent.encode())] if traceparent else []
        return await body_of(traced(app, "test", environ), path, headers)

    return once


async def body_of(app: ASGIApp, path: str, headers: list[tuple[bytes, bytes]]) -> str:
    sent: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    await app(scope | {"query_string": b"", "root_path": ""}, receive, send)
    return b"".join(sent).decode()


def span_in_flight() -> str:
    return trace.format_span_id(trace.get_current_span().get_span_context().span_id)


async def until_collected(collector: Collector, count: int) -> list[Span]:
    async with asyncio.timeout(30):
        while len(collector.spans) < count:
            await asyncio.sleep(0.01)
    return collector.spans


async def test_a_sampled_request_is_one_span_in_its_callers_trace(
    call: Call, collector: Collector
) -> None:
    told = await call("/greet/me", ratio="0", traceparent=f"00-{TRACE}-{PARENT}-01")
    (span,) = await until_collected(collector, 1)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert told == f"{TRACE} {span.span_id.hex()}"
    assert (span.name, span.kind) == ("GET /greet/{name}", Span.SPAN_KIND_SERVER)
    attributes = {pair.key: pair.value for pair in span.attributes}
    assert attributes["http.route"].string_value == "/greet/{name}"
    assert attributes["http.response.status_code"].int_value == 200


async def test_a_failed_answer_marks_its_span(call: Call, collector: Collector) -> None:
    await call("/greet/nobody", ratio="1")
    (span,) = await until_collected(collector, 1)
    assert span.status.code == Status.STATUS_CODE_ERROR


async def test_what_is_not_sampled_is_not_sent_but_keeps_its_trace(
    call: Call, collector: Collector
) -> None:
    told = await call("/greet/me", ratio="1", traceparent=f"00-{TRACE}-{PARENT}-00")
    assert told.startswith(TRACE)
    await call("/greet/me", ratio="0")
    await call("/greet/last", ratio="1")
    assert len(await until_collected(collector, 1)) == 1


async def test_without_a_collector_the_application_is_left_alone() -> None:
    app = Starlette()
    assert traced(app, "test", {}) is app


async def test_a_missing_extra_is_said_and_costs_nothing_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    app = Starlette()
    with caplog.at_level(logging.WARNING):
        assert traced(app, "test", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) is app
    assert "holdfast[otel]" in caplog.text
