import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.core.sse import HEARTBEAT, EventStream, Streams
from holdfast.core.telemetry import logs
from holdfast.core.telemetry.http import exposed, observed
from holdfast.core.telemetry.metrics import Registry


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The app on a real server, on a free port."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def example() -> ASGIApp:
    """An app with a route under two prefixes, one that fails, and a hot route before them all."""
    inner = APIRouter(prefix="/users")

    @inner.get("/{user}")
    async def show_user(user: str, request: Request) -> Response:
        if user == "nobody":
            return Response(status_code=404)
        if user == "broken":
            raise RuntimeError(user)
        return PlainTextResponse(logs.request_id())

    outer = APIRouter(prefix="/v1")
    outer.include_router(inner)
    framework = FastAPI(openapi_url=None)
    framework.include_router(outer, prefix="/api")

    async def frame(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/hot":
            scope["holdfast.route"] = "/hot"
            await PlainTextResponse("hot")(scope, receive, send)
        else:
            await framework(scope, receive, send)

    return frame


@pytest.fixture
async def registry() -> Registry:
    return Registry()


async def get(url: str, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        return response.status, await response.text()


def samples(rendered: str, name: str) -> dict[str, float]:
    lines = (line.removeprefix(name).rsplit(" ", 1) for line in rendered.splitlines())
    return {labels: float(value) for labels, value in lines if labels.startswith("{")}


async def test_requests_are_counted_by_method_template_and_status_class(registry: Registry) -> None:
    async with served(observed(example(), registry)) as url:
        for path in ("users/a", "users/b", "users/nobody", "users/broken"):
            await get(f"{url}/api/v1/{path}")
        await get(f"{url}/hot")
        await get(f"{url}/secret/wp-admin.php")
        await get(f"{url}/api/v1/users/a", "PROPFIND")
    rendered = registry.render()
    user = 'route="/api/v1/users/{user}"'
    counted = samples(rendered, "holdfast_http_requests_total")
    assert {labels: value for labels, value in counted.items() if value} == {
        f'{{method="GET",{user},status="2xx"}}': 2,
        f'{{method="GET",{user},status="4xx"}}': 1,
        f'{{method="GET",{user},status="5xx"}}': 1,
        '{method="GET",route="/hot",status="2xx"}': 1,
        '{method="GET",route="other",status="4xx"}': 1,
        f'{{method="other",{user},status="4xx"}}': 1,
    }
    assert counted['{method="GET",route="/hot",status="5xx"}'] == 0  # so that the first is seen
    assert f'holdfast_http_request_duration_seconds_count{{method="GET",{user}}} 4' in rendered
    assert "holdfast_http_requests_in_flight 0" in rendered
    assert "wp-admin" not in rendered


async def test_a_request_is_in_flight_while_it_is_handled(registry: Registry) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(registry.render())(scope, receive, send)

    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    bodies: list[bytes] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        bodies.append(message.get("body", b""))

    await observed(app, registry)(scope, receive, send)
    assert b"holdfast_http_requests_in_flight 1" in b"".join(bodies)
    assert "holdfast_http_requests_in_flight 0" in registry.render()


async def test_a_stream_of_events_is_counted_and_timed_when_it_begins(registry: Registry) -> None:
    shown = []

    async def turns() -> AsyncGenerator[bytes]:
        yield HEARTBEAT
        shown.append(registry.render())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["holdfast.route"] = "/turns"
        await EventStream(turns(), Streams())(scope, receive, send)

    async with served(observed(app, registry)) as url:
        await get(url)
    turn = '{method="GET",route="/turns"'
    took_s: list[float] = []
    for rendered in (*shown, registry.render()):
        assert samples(rendered, "holdfast_http_requests_total")[turn + ',status="2xx"}'] == 1
        took_s.append(samples(rendered, "holdfast_http_request_duration_seconds_sum")[turn + "}"])
    meanwhile, afterwards = took_s
    assert 0 < meanwhile == afterwards


async def test_a_decent_request_id_is_taken_over_and_another_replaced(registry: Registry) -> None:
    async with served(observed(example(), registry)) as url, aiohttp.ClientSession() as session:

        async def id_for(sent: str) -> str:
            headers = {"X-Request-ID": sent}
            async with session.get(f"{url}/api/v1/users/a", headers=headers) as response:
                return await response.text()

        assert await id_for("abc-1.2_3") == "abc-1.2_3"
        for odd in ("", "two words", "x" * 65):
            made = await id_for(odd)
            assert made != odd
            assert len(made) == 16
    assert logs.request_id() is None


async def test_the_metrics_port_shows_metrics_and_figures_and_nothing_else(
    registry: Registry,
) -> None:
    async with served(observed(example(), registry)) as url, exposed(0, registry) as port:
        await get(f"{url}/hot")
        await get(f"{url}/api/v1/users/broken")
        metrics_url = f"http://127.0.0.1:{port}"
        status, text = await get(f"{metrics_url}/metrics")
        assert status == 200
        for name in (
            "holdfast_http_requests_total",
            "holdfast_event_loop_lag_seconds",
            "process_cpu_seconds_total",
        ):
            assert f"# TYPE {name} " in text
        status, text = await get(f"{metrics_url}/figures?fresh=1")
        figures = json.loads(text)
        assert (figures["requests"], figures["errors"], figures["in_flight"]) == (2, 1, 0)
        assert figures["loop_lag_ms"] >= 0
        assert {(r["method"], r["route"], r["errors"]) for r in figures["routes"]} == {
            ("GET", "/hot", 0),
            ("GET", "/api/v1/users/{user}", 1),
        }
        assert all(0 < r["p50_ms"] <= r["p95_ms"] <= r["p99_ms"] for r in figures["routes"])
        assert (await get(f"{metrics_url}/"))[0] == 404
        assert (await get(f"{metrics_url}/metrics", "POST"))[0] == 404


async def test_the_metrics_port_withstands_nonsense(registry: Registry) -> None:
    async with exposed(0, registry) as port:
        for nonsense in (b"\r\n\r\n", b"x" * 100_000, b"\xff \xff\r\n\r\n"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(nonsense)
            writer.close()
        assert (await get(f"http://127.0.0.1:{port}/metrics"))[0] == 200


async def test_a_blocked_loop_shows_as_lag(registry: Registry) -> None:
    async with exposed(0, registry) as port:
        await asyncio.sleep(0.15)
        blocking = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(_block, 0.5, blocking)
        await blocking
        await asyncio.sleep(0.15)
        figures = json.loads((await get(f"http://127.0.0.1:{port}/figures"))[1])
    assert figures["loop_lag_ms"] > 100


def _block(seconds: float, done: asyncio.Future[None]) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        pass
    done.set_result(None)
