"""gRPC beside HTTP: a service's methods, answered by the process that serves its routes.

A feature offers methods in its `grpc.py`: each takes the service's resources, the request, and a
scope with the call's metadata as headers, so that guards, limits and logs treat it as they treat a
request. A `ProblemError` becomes a status; the problem itself, and the headers that it would have had,
go in the trailing metadata. Many processes may share the port: the kernel spreads connections.

The end is graceful: once HTTP is done, health says NOT_SERVING, clients are told to go elsewhere, and
calls that run are answered. Messages are bounded and so are pings; nothing is encrypted here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
import msgspec
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from starlette.types import Scope

from holdfast.core.errors import MalformedError, ProblemError
from holdfast.core.rpc.health import Health
from holdfast.core.telemetry import logs
from holdfast.core.telemetry.metrics import PROCESS
from holdfast.core.web import LARGEST_BODY, Method, Service, outcomes, ready

PROBLEM = "problem-bin"
CODES = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
PINGS_APART_S = 2.0  # at least; who pings more often is sent away
CONNECTIONS_LIVE_S, CALLS_MAY_TAKE_S = 300, 30  # so that a new worker gets its share of connections
LOOK_AGAIN_S = 2.0
log = logging.getLogger(__name__)

DONE = PROCESS.counter("holdfast_grpc_requests_total", "Calls answered.", "method", "code")
DURATION = PROCESS.histogram(
    "holdfast_grpc_request_duration_seconds",
    "From the call's arrival until its answer was made.",
    "method",
)


def also_by_grpc(service: Service, address: str, drain_s: float) -> Service:
    """The service, answering its methods at this address while it runs."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        async with service.lifespan() as here, answering(service, here, address, drain_s):
            yield here

    return replace(service, lifespan=lifespan)


@asynccontextmanager
async def answering(
    service: Service, here: Any, address: str, drain_s: float
) -> AsyncIterator[None]:
    server, health = _server(service, here)
    server.add_insecure_port(address)
    await server.start()
    looking = asyncio.create_task(_tell_health(health, service, here), name="grpc health")
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        health.end()
        await server.stop(drain_s)


def _server(service: Service, here: Any) -> tuple[grpc.aio.Server, Health]:
    options = {
        "grpc.so_reuseport": 1,
        "grpc.max_receive_message_length": LARGEST_BODY,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.min_ping_interval_without_data_ms": PINGS_APART_S * 1000,
        "grpc.max_connection_age_ms": CONNECTIONS_LIVE_S * 1000,
        "grpc.max_connection_age_grace_ms": CALLS_MAY_TAKE_S * 1000,
    }
    server = grpc.aio.server(options=[(name, int(value)) for name, value in options.items()])
    methods = service.grpc()
    server.add_generic_rpc_handlers([Offered(methods, here)])
    health = Health({name.partition("/")[0] for name in methods})
    add_HealthServicer_to_server(health, server)
    return server, health


class Offered(grpc.GenericRpcHandler):
    """Finds a call's method by its full name."""

    def __init__(self, methods: Mapping[str, Method], here: Any) -> None:
        self._handlers = {f"/{name}": _handler(name, methods[name], here) for name in methods}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._handlers.get(handler_call_details.method)


def _handler(name: str, method: Method, here: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    described = descriptor_pool.Default().FindMethodByName(name.replace("/", "."))
    asked_type = GetMessageClass(described.input_type)

    async def answer(body: bytes, context: Any) -> Any:
        scope = _scope(context)
        known_to_logs = logs.request.set(scope)
        code = grpc.StatusCode.CANCELLED  # unless something else becomes of it
        began = perf_counter()
        try:
            asked = _read(asked_type, body)
            answered = (await method(here, asked, scope)).SerializeToString()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told and we log it
            problem = _problem_of(error)
            code = CODES.get(problem.status, grpc.StatusCode.INTERNAL)
            return await context.abort(code, problem.detail, tuple(_told(problem)))
        else:
            code = grpc.StatusCode.OK
            return answered
        finally:
            DONE.of(name, code.name).add()
            DURATION.of(name).observe(perf_counter() - began)
            logs.request.reset(known_to_logs)

    return grpc.unary_unary_rpc_method_handler(answer)


def _read(kind: type[Message], body: bytes) -> Message:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise MalformedError("The request is not a message of the type that is expected.") from None


def _problem_of(error: Exception) -> ProblemError:
    if isinstance(error, ProblemError):
        return error
    log.error("A call failed.", exc_info=error)
    return ProblemError()


def _told(problem: ProblemError) -> Iterator[tuple[str, str | bytes]]:
    yield PROBLEM, msgspec.json.encode(problem.problem)
    for name, value in problem.headers.items():
        yield name.lower(), value


def _scope(context: Any) -> Scope:
    """The call as an ASGI server would tell of it, as far as that goes."""
    metadata = context.invocation_metadata()
    return {
        "type": "grpc",
        "headers": [
            (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in metadata
        ],
        "client": _client(context.peer()),
    }


def _client(peer: str) -> tuple[str, int]:
    """Of what gRPC calls `ipv4:127.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return host.strip("[]"), int(port)


async def _tell_health(health: Health, service: Service, here: Any) -> None:
    while True:
        health.tell(ready=ready(await outcomes(service, here)))
        await asyncio.sleep(LOOK_AGAIN_S)
