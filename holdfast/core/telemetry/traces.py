"""OpenTelemetry, for those who have a collector: one span a request, and a trace carried on.

Nothing is imported and nothing is paid unless OTEL_EXPORTER_OTLP_ENDPOINT is set and the `otel`
extra is installed. A caller's sampling decision (W3C traceparent) is honoured; of requests that
begin here one in a hundred is traced, or OTEL_TRACES_SAMPLER_ARG. There are no spans for single
sends, receives or queries: at a few thousand requests a second they cost more than they tell.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.telemetry.http import route_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

DEFAULT_RATIO = "0.01"
CARRIED = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
log = logging.getLogger(__name__)


def traced(app: ASGIApp, service: str, environ: Mapping[str, str]) -> ASGIApp:
    """The application with a span a request; the application itself where nobody collects them."""
    collector = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not collector:
        return app
    ratio = float(environ.get("OTEL_TRACES_SAMPLER_ARG", DEFAULT_RATIO))
    try:
        return spanned(app, _provider(service, collector, ratio))
    except ImportError:
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set; install holdfast[otel] to send traces")
        return app


def _provider(service: str, collector: str, ratio: float) -> "TracerProvider":
    """Spans leave in batches from a thread of their own; at exit what is left is sent."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({"service.name": service}),
    )
    exporter = OTLPSpanExporter(f"{collector.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def spanned(app: ASGIApp, provider: "TracerProvider") -> ASGIApp:
    from opentelemetry.trace import SpanKind, format_trace_id  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    tracer = provider.get_tracer("holdfast")
    extract = TraceContextTextMapPropagator().extract

    async def trace(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        carried = {CARRIED[k]: v.decode("latin-1") for k, v in scope["headers"] if k in CARRIED}
        with tracer.start_as_current_span(
            scope["method"], extract(carried), SpanKind.SERVER
        ) as span:
            scope["holdfast.trace_id"] = format_trace_id(span.get_span_context().trace_id)
            if span.is_recording():
                await _record(span, app, scope, receive, send)
            else:
                await app(scope, receive, send)

    return trace


async def _record(span: "Span", app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(StatusCode.ERROR)
        await send(message)

    try:
        await app(scope, receive, note)
    finally:
        route = route_of(scope)
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.request.method", scope["method"])
        span.set_attribute("http.route", route)
