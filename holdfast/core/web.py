"""The web frame: one ASGI application of one or more services, with everything a client may expect.

Ordinary routes are FastAPI's; a route that must be fast is a plain ASGI handler under `hot`, found
by one dictionary look-up before any routing. All failures are RFC 9457 problem+json, bodies are
bounded, and `/health/live` and `/health/ready` tell a balancer what it needs to know. The OpenAPI
documents are the files in `contracts/`; nothing is derived from the code.
"""

import asyncio
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.errors import (
    InvalidError,
    MalformedError,
    NotFoundError,
    ProblemError,
    TooLargeError,
)
from holdfast.core.settings import Settings

LARGEST_BODY = 64 * 1024
BOUNDED = "holdfast.bounded"  # in the scope, where the front door of this very process sees to it
CHECK_TIMEOUT_S = 2.0  # a balancer waits hardly longer
log = logging.getLogger(__name__)

OURS: Mapping[int, type[ProblemError]] = {400: MalformedError, 404: NotFoundError}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Check = Callable[[Any], Awaitable[None]]
Hot = Mapping[tuple[str, str], ASGIApp]
Method = Callable[[Any, Any, Scope], Awaitable[Any]]  # resources, request, scope -> answer


@dataclass(frozen=True)
class Service:
    """What an app hands over to be served."""

    name: str
    lifespan: Callable[[], AbstractAsyncContextManager[Any]]
    routers: Sequence[APIRouter] = ()
    hot: Hot = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
    grpc: Callable[[], Mapping[str, Method]] = dict  # by their full names; imported when asked for


def build(settings: Settings, *services: Service) -> ASGIApp:
    """One application. A service's resources are at `app.state.<name>` while it runs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for service in services:
                resources = await stack.enter_async_context(service.lifespan())
                setattr(app.state, service.name, resources)
            app.state.ready = True
            yield
            app.state.ready = False

    hot = {key: handler for service in services for key, handler in service.hot.items()}
    app = FastAPI(
        lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state = SimpleNamespace()  # type: ignore[assignment]  # Starlette's runs Python for each look
    for error in (ProblemError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error, partial(_answer_problem, hot))
    routers = [_health(services), *(router for service in services for router in service.routers)]
    app.router.routes.append(Exact(routers))
    for router in routers:
        app.include_router(router)
    return Frame(app, hot)


class Frame:
    """Hot routes first, then the framework; either way the body is bounded."""

    def __init__(self, app: FastAPI, hot: Hot) -> None:
        self.app = app
        self.hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if BOUNDED not in scope:
            receive = _bounded(scope, receive)
        handler = self.hot.get((scope["method"], scope["path"]))
        if handler is None:
            await self.app(scope, receive, send)
            return
        scope["holdfast.route"] = scope["path"]
        scope["app"] = self.app
        try:
            await handler(scope, receive, send)
        except ProblemError as problem:
            await problem_response(problem)(scope, receive, send)
        except Exception:
            await problem_response(ProblemError())(scope, receive, send)
            raise  # to whoever serves us: it is logged there, as the framework's faults are


class Exact(BaseRoute):
    """All routes without a parameter in their path, found by one look-up however many there are.

    The framework asks one route after the other, about a microsecond each.
    """

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        self._routes = {
            (method, route.path): route
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and "{" not in route.path
            for method in route.methods or ()
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        route = self._routes.get((scope.get("method", ""), scope["path"]))
        return route.matches(scope) if route else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].handle(scope, receive, send)


def problem_response(error: ProblemError) -> Response:
    return Response(
        msgspec.json.encode(error.problem),
        status_code=error.status,
        headers=error.headers,
        media_type="application/problem+json",
    )


async def _answer_problem(hot: Hot, request: Request, error: Exception) -> Response:
    nowhere = isinstance(error, HTTPException) and error.status_code == HTTPStatus.NOT_FOUND
    if nowhere and any(path == request.scope["path"] for _, path in hot):
        error = HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)  # the framework knows no hot routes
    problem = problem_of(error)
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        problem.headers["Allow"] = ", ".join(_methods(hot, request))
    return problem_response(problem)


def _methods(hot: Hot, request: Request) -> Iterator[str]:
    """What the address can be asked: the framework knows only the first route that it found."""
    for method in METHODS:
        scope = {**request.scope, "method": method}
        if (method, scope["path"]) in hot or any(
            route.matches(scope)[0] is Match.FULL for route in request.app.routes
        ):
            yield method


def problem_of(error: Exception) -> ProblemError:
    """What is answered for an exception that reached the frame."""
    match error:
        case ProblemError():
            return error
        case RequestValidationError():
            return _invalid(error)
        case HTTPException(__cause__=ProblemError() as problem):
            return problem  # FastAPI wraps what fails while a body is read
        case HTTPException(status_code=status) if status in OURS:
            return OURS[status]()
        case HTTPException():
            problem = ProblemError(str(error.detail), headers=dict(error.headers or {}))
            problem.status = HTTPStatus(error.status_code)  # type: ignore[misc]  # as the framework says
            return problem
    return ProblemError()


def _invalid(error: RequestValidationError) -> ProblemError:
    """The fields and what is wrong with them; never the values, which may be secrets."""
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return MalformedError()
    return InvalidError(
        *((".".join(map(str, one["loc"][1:])) or str(one["loc"][0]), one["msg"]) for one in found)
    )


async def body_of(receive: Receive) -> bytes:
    """The whole body, for a hot route; `Frame` has bounded it."""
    message = await receive()
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Refuse a body that is too large by what it says of itself, or as soon as it becomes so."""
    received = 0

    async def receive_some() -> Message:
        nonlocal received
        if not received:
            declared = dict(scope["headers"]).get(b"content-length", b"0")
            if declared.isdigit() and int(declared) > LARGEST_BODY:
                raise TooLargeError
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY:
            raise TooLargeError
        return message

    return receive_some


def _health(services: Sequence[Service]) -> APIRouter:
    router = APIRouter()

    @router.get("/health/live")
    async def show_liveness() -> Response:
        """The process runs its loop; a supervisor restarts it when this fails."""
        return _json({"status": "live"})

    @router.get("/health")
    @router.get("/health/ready")
    async def show_readiness(request: Request) -> Response:
        """The process can serve; a balancer sends it nothing while this fails."""
        state = request.app.state
        found = (outcomes(each, getattr(state, each.name, None)) for each in services)
        results = {"process": "ok" if getattr(state, "ready", False) else "draining"}
        for result in await asyncio.gather(*found):
            results |= result
        if ready(results):
            return _json({"status": "ready", "checks": results})
        body = {"status": "not ready", "checks": results}
        return _json(body, HTTPStatus.SERVICE_UNAVAILABLE)

    return router


class DegradedError(Exception):
    """Raised by a check: something is away, and the service holds without it."""


async def outcomes(service: Service, resources: Any) -> dict[str, str]:
    """What the service's readiness rests on, and how it is at this moment."""
    found = await asyncio.gather(*(_outcome(check, resources) for check in service.checks.values()))
    names = (f"{service.name}.{name}" for name in service.checks)
    return dict(zip(names, found, strict=True))


def ready(outcomes: Mapping[str, str]) -> bool:
    return all(told == "ok" or told.startswith("degraded") for told in outcomes.values())


async def _outcome(check: Check, resources: Any) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check(resources)
    except DegradedError as degraded:
        return f"degraded: {degraded}"
    except TimeoutError:
        return f"failed: no answer within {CHECK_TIMEOUT_S:.0f} s"
    except Exception as error:  # noqa: BLE001 - whatever fails, the answer is "not ready"
        log.warning("Not ready: %r", error)
        return f"failed: {error}"
    return "ok"


def _json(body: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")
