"""The door before an upstream in its own process, on a real server, with a real Redis behind it."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from fastapi import APIRouter, Request, WebSocket
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from holdfast.cli.servers import free_port
from holdfast.core.callers import CLAIMS
from holdfast.core.settings import Settings
from holdfast.core.telemetry import http as telemetry
from holdfast.core.telemetry.metrics import Registry
from holdfast.core.tests.issuer import Issuer, issuing
from holdfast.core.tests.serving import served
from holdfast.core.web import Service, body_of, build
from holdfast.gateway.door import Door, refused
from holdfast.gateway.main import service
from holdfast.gateway.options import Options
from holdfast.gateway.passage import KEY, Passage
from holdfast.gateway.remote import Remote
from holdfast.gateway.table import read

TABLE = """
[limits.development]
few = "5/min ip"
mine = "3/min user"
[breaker]
window_s = 10
least_calls = 20
open_at = 0.5
open_for_s = 30
probes = 3
[retries]
methods = ["PUT"]
most = 1
budget = 0.2
[defaults]
access = "public"
timeout_s = 10
largest_body = 1000
limits = []
[routes]
"/health" = { upstream = "gateway" }
"/open" = { upstream = "here" }
"/hot" = { upstream = "here", exact = true }
"/signed" = { upstream = "here", access = "signed_in" }
"/apart" = { upstream = "apart" }
"/nowhere" = { upstream = "nowhere" }
"/apart/signed" = { upstream = "apart", access = "signed_in" }
"/few" = { upstream = "here", limits = ["few"] }
"/mine" = { upstream = "here", limits = ["few", "mine"] }
"/open/late" = { upstream = "here", timeout_s = 0.2 }
"/socket" = { upstream = "here", access = "signed_in", stream = true }
"/open/live" = { upstream = "here", timeout_s = 0.2, stream = true }
"""
FRIEND = "https://friend.example"
SHORTLY_S = 20
PRINTED = {"Content-Type": "text/plain"}

Headers = dict[str, str]


@dataclass
class Upstream:
    """Answers as its address says, and remembers what reached it."""

    asked: list[str] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    passage: Passage | None = None
    claims: Any = None
    cancelled: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, scope: Scope) -> None:
        self.asked.append(scope["path"])
        self.headers = scope["headers"]
        self.passage = scope.get(KEY)
        self.claims = scope.get(CLAIMS)

    def header(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.headers if key == name.encode()]

    @property
    def service(self) -> Service:
        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            yield

        return Service("here", lifespan, [self._router()], {("POST", "/hot"): self.answer})

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As a hot route, and as an application of its own."""
        self.note(scope)
        body = b"%d" % len(await body_of(receive))
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/open/text", self._show_text, methods=["GET", "HEAD"])
        for path in ("/open/late", "/open/wait"):
            router.add_api_route(path, self._wait)
        for path in ("/open/live", "/open/live/unnamed"):
            router.add_api_route(path, self._go_on)
        router.add_api_websocket_route("/socket", self._echo)
        router.add_api_route("/{path:path}", self._tell, methods=["GET", "POST"])
        return router

    async def _show_text(self, request: Request, size: int, pieces: int = 1) -> Response:
        headers = {"ETag": '"tag"', **PRINTED, **json.loads(request.headers.get("told", "{}"))}
        if pieces == 1:
            return Response(b"x" * size, headers=headers)

        async def in_pieces() -> AsyncIterator[bytes]:
            for _ in range(pieces):
                yield b"x" * size

        return StreamingResponse(in_pieces(), headers=headers)

    async def _wait(self, request: Request) -> str:
        self.note(request.scope)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "at last"

    async def _go_on(self) -> Response:
        async def beats() -> AsyncIterator[bytes]:
            yield b"begun"
            await self.go_on.wait()
            yield b" and ended"

        return StreamingResponse(beats(), headers=PRINTED)

    async def _echo(self, socket: WebSocket) -> None:
        self.note(socket.scope)
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    async def _tell(self, request: Request) -> int:
        self.note(request.scope)
        return len(await request.body())


@dataclass
class Here:
    url: str
    http: aiohttp.ClientSession
    upstream: Upstream
    registry: Registry
    issuer: Issuer

    async def ask(
        self, path: str, method: str = "GET", *, token: str | None = None, **told: Any
    ) -> tuple[int, Any, Any]:
        headers = told.pop("headers", {})
        if token is not None:
            headers = {**headers, "Authorization": f"Bearer {token}"}
        async with self.http.request(method, self.url + path, headers=headers, **told) as answer:
            return answer.status, answer.headers, await answer.read()

    async def status(self, path: str, method: str = "GET", **told: Any) -> int:
        return (await self.ask(path, method, **told))[0]

    async def say(self, line: str) -> bytes:
        """A request line as no client would write it; the whole answer."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode("latin-1")
        )
        async with asyncio.timeout(SHORTLY_S):
            heard = await reader.read()
        writer.close()
        return heard


Opened = Callable[..., AbstractAsyncContextManager[Here]]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture
def opened(issuer: Issuer, redis_url: str, tmp_path: Path) -> Opened:
    """A door with these settings; what it counts is in a registry of its own."""
    file = tmp_path / "table.toml"
    file.write_text(TABLE, encoding="utf-8")

    @asynccontextmanager
    async def opening(environ: Headers | None = None, **chosen: Any) -> AsyncIterator[Here]:
        settings = Settings.load(
            {
                "DATABASE_URL": "postgresql://127.0.0.1/none",
                "REDIS_URL": redis_url,
                "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
                "HOLDFAST_ORIGIN": issuer.url,
                **(environ or {}),
            }
        )
        upstream, registry = Upstream(), Registry()
        table = read("development", file)
        nowhere = Remote("nowhere", f"http://127.0.0.1:{free_port()}", table)
        frame = build(settings, service(settings, nowhere), upstream.service)
        upstreams: dict[str, ASGIApp] = {"apart": upstream.answer, "nowhere": nowhere}
        upstreams |= dict.fromkeys(["gateway", "identity", "here"], frame)
        door = Door(settings, Options(table=file, **chosen), table, upstreams)
        async with (
            served(telemetry.observed(door, registry)) as url,
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            ) as http,
        ):
            yield Here(url, http, upstream, registry, issuer)

    return opening


@pytest.fixture
async def here(opened: Opened) -> AsyncIterator[Here]:
    async with opened() as here:
        yield here


def problem(body: bytes) -> str:
    told: str = json.loads(body)["type"]
    return told.removeprefix("/problems/")


# -- Where a request goes

AMBIGUOUS = [
    *("/open//signed", "//signed", "/open/../signed", "/open/..", "/open/./a", "/open/."),
    *("/open/%2e%2e/signed", "/open/%2E./signed", "/open/..%2fsigned", "/open%2Fa"),
    *("/open/%5c..%5csigned", "/open\\..\\signed", "/open;a=b", "/open/a%3bb", "/open/%00"),
    *("/open/%252e%252e/signed", "/open/%0d%0aX:y", "/open/%", "/open/%zz", "/open/%c0%af"),
    *("/open/\x7f", "/op%65n//a", "/open/%20/%2f"),
]


async def test_what_is_in_the_table_is_led_to_its_upstream_and_nothing_else(here: Here) -> None:
    assert await here.status("/open/anything") == 200
    assert await here.status("/hot", "POST", data=b"123") == 200
    assert here.upstream.asked == ["/open/anything", "/hot"]
    for path in ("/", "/opened", "/hot/below", "/internal/v1/page-token"):
        status, _, body = await here.ask(path)
        assert (status, problem(body)) == (404, "not-found")
    assert len(here.upstream.asked) == 2


async def test_a_path_that_could_be_read_in_two_ways_reaches_nobody(here: Here) -> None:
    for path in AMBIGUOUS:
        heard = await here.say(f"GET {path}")
        assert heard.startswith(b"HTTP/1.1 400"), (path, heard)
    assert not here.upstream.asked


async def test_a_path_means_the_same_however_its_letters_are_written(here: Here) -> None:
    for path in ("/signed/a", "/%73igned/a", "/s%69gne%64/a", "/signed/%EA%B0%80"):
        assert (await here.say(f"GET {path}")).startswith(b"HTTP/1.1 401"), path
    assert (await here.say("GET /open/%EA%B0%80?a=/../b//c")).startswith(b"HTTP/1.1 200")
    assert (await here.say("GET http://elsewhere/signed")).startswith(b"HTTP/1.1 401")
    assert here.upstream.asked == ["/open/가"]


async def test_an_upstream_elsewhere_is_told_what_was_decided(here: Here) -> None:
    person, before = uuid4(), time.monotonic()
    token = here.issuer.token(person)
    told = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    _, headers, _ = await here.ask("/apart/signed/this", token=token, headers=told)
    passage = here.upstream.passage
    assert passage
    assert (passage.route.path, passage.client) == ("/apart/signed", "127.0.0.1")
    assert passage.request_id == headers["X-Request-Id"]
    assert before + 10 <= passage.deadline <= time.monotonic() + 10
    assert here.upstream.claims.sub == person
    assert here.upstream.header("traceparent") == [told["traceparent"]]


async def test_a_request_has_an_id_its_own_if_that_is_decent(here: Here) -> None:
    for given in ("A-decent_one-1", "x" * 64):
        _, headers, _ = await here.ask("/open/a", headers={"X-Request-Id": given})
        assert headers["X-Request-Id"] == given
    made = set()
    for given in ("", "no spaces", "x" * 65, "a.b", "<script>"):
        for path in ("/open/a", "/unknown"):
            _, headers, _ = await here.ask(path, headers={"X-Request-Id": given})
            made.add(headers["X-Request-Id"])
    assert len(made) == 10
    assert all(len(one) == 16 for one in made)


# -- Who asks


async def test_what_a_stranger_forwards_is_neither_believed_nor_passed_on(here: Here) -> None:
    names = ["Forwarded", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"]
    told = {**dict.fromkeys(names, "192.0.2.1"), "X-Forwarded-Prefix": "/a", "X-Mine": "kept"}
    assert await here.status("/apart", headers=told) == 200
    assert here.upstream.passage
    assert here.upstream.passage.client == "127.0.0.1"
    assert [here.upstream.header(name.lower()) for name in told] == [[]] * 6 + [["kept"]]


async def test_a_proxy_of_ours_is_believed_about_whom_it_saw_itself(opened: Opened) -> None:
    async with opened({"HOLDFAST_TRUSTED_PROXIES": "127.0.0.0/8"}) as here:
        for forwarded, client in [
            ("192.0.2.1", "192.0.2.1"),
            ("198.51.100.7, 192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, 127.0.0.9", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("nonsense", "127.0.0.1"),
            ("", "127.0.0.1"),
        ]:
            assert await here.status("/apart", headers={"X-Forwarded-For": forwarded}) == 200
            assert here.upstream.passage
            assert here.upstream.passage.client == client
            assert here.upstream.header("x-forwarded-for") == [forwarded]
        statuses = [
            await here.status("/few/a", headers={"X-Forwarded-For": f"192.0.2.{who}"})
            for who in (1, 1, 1, 1, 1, 1, 2)
        ]
        assert statuses == [200] * 5 + [429, 200]


async def test_without_a_good_token_nobody_gets_further_than_the_door(here: Here) -> None:
    with issuing() as another:
        another.url = here.issuer.url
    issuer = here.issuer
    bad = [None, "nonsense", "a.b.c", issuer.token(lives_s=-1), issuer.token(audience="another")]
    for token in (*bad, another.token()):
        for _ in range(2):  # it is no better when it was seen before
            status, headers, body = await here.ask("/signed/this", token=token)
            assert (status, problem(body)) == (401, "unauthenticated")
            assert headers["WWW-Authenticate"] == "Bearer"
        assert not here.upstream.asked
    assert await here.status("/open/this", token=another.token()) == 200
    assert here.upstream.claims is None
    assert await here.status("/signed/this", token=issuer.token()) == 200


async def test_while_the_keys_are_away_what_is_public_goes_on(opened: Opened) -> None:
    async with opened({"HOLDFAST_IDENTITY_URL": "http://127.0.0.1:9"}) as here:
        token = here.issuer.token()
        status, headers, body = await here.ask("/signed/this", token=token)
        assert (status, problem(body)) == (503, "keys-away")
        assert headers["Retry-After"] == "1"
        assert await here.status("/open/this", token=token) == 200


async def test_a_web_socket_needs_what_every_request_needs(here: Here) -> None:
    for path, token, status in [
        ("/socket", None, 401),
        ("/socket", "nonsense", 401),
        ("/socket/../socket", here.issuer.token(), 400),
        ("/sockets", here.issuer.token(), 404),
    ]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = URL(here.url + path, encoded=True)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await here.http.ws_connect(address, headers=headers)
        assert refusal.value.status == status
    assert not here.upstream.asked
    good = {"Authorization": f"Bearer {here.issuer.token()}"}
    async with here.http.ws_connect(here.url + "/socket", headers=good) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
    assert here.upstream.claims


# -- How often and how much


async def test_limits_hold_for_an_address_and_for_a_user(here: Here) -> None:
    statuses = [
        await here.status("/few/a", headers={"X-Forwarded-For": f"192.0.2.{number}"})
        for number in range(6)
    ]
    assert statuses == [200] * 5 + [429]
    status, headers, body = await here.ask("/few/b", token=here.issuer.token())
    assert (status, problem(body)) == (429, "too-many-requests")
    assert 1 <= int(headers["Retry-After"]) <= 12
    assert await here.status("/open/a") == 200


async def test_a_user_is_counted_over_all_their_tokens(here: Here) -> None:
    person = uuid4()
    known = [here.issuer.token(person) for _ in range(2)]
    for token in known:
        assert await here.status("/open/a", token=token) == 200
    tokens = [*known, *(here.issuer.token(person) for _ in range(2))]
    assert [await here.status("/mine/a", token=token) for token in tokens] == [200] * 3 + [429]
    assert await here.status("/mine/a", token=here.issuer.token()) == 200


async def test_nothing_is_counted_where_limits_are_off(opened: Opened) -> None:
    async with opened({"HOLDFAST_LIMITS": "off", "REDIS_URL": "redis://127.0.0.1:9"}) as here:
        assert [await here.status("/few/a") for _ in range(7)] == [200] * 7


async def test_limits_hold_without_redis_too(opened: Opened) -> None:
    async with opened({"REDIS_URL": "redis://127.0.0.1:9"}) as here:
        assert [await here.status("/few/a") for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.parametrize("path", ["/hot", "/open/body"])
async def test_a_body_is_read_up_to_its_routes_limit(here: Here, path: str) -> None:
    async def pieces(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield b"x" * 100

    for data in (b"x" * 1000, pieces(10)):
        assert (await here.ask(path, "POST", data=data))[2] == b"1000"
    asked = len(here.upstream.asked)
    status, _, body = await here.ask(path, "POST", data=b"x" * 1001)
    assert (status, problem(body)) == (413, "too-large")
    assert len(here.upstream.asked) == asked
    status, _, body = await here.ask(path, "POST", data=pieces(11))
    assert (status, problem(body)) == (413, "too-large")


# -- How long, and how many at once


async def test_an_answer_that_does_not_begin_in_time_is_ended(here: Here) -> None:
    status, headers, body = await here.ask("/open/late")
    assert (status, problem(body)) == (504, "late")
    assert "X-Request-Id" in headers
    assert here.upstream.cancelled == 1


async def test_an_answer_that_has_begun_may_take_its_time(here: Here) -> None:
    for path in ("/open/live", "/open/live/unnamed"):
        here.upstream.go_on.clear()
        async with here.http.get(here.url + path, headers={"Accept-Encoding": "gzip"}) as answer:
            assert await answer.content.readany() == b"begun"
            await asyncio.sleep(0.4)
            here.upstream.go_on.set()
            assert await answer.read() == b" and ended"


async def test_a_client_that_leaves_does_no_harm(here: Here) -> None:
    asking = asyncio.create_task(here.status("/open/wait"))
    while not here.upstream.asked:
        await asyncio.sleep(0.005)
    asking.cancel()
    here.upstream.go_on.set()
    assert await here.status("/open/wait") == 200


async def test_who_comes_when_too_much_is_under_way_is_told_at_once(opened: Opened) -> None:
    async with opened(most_in_flight=2, most_streams=1) as here:
        waiting = [asyncio.create_task(here.status("/open/wait")) for _ in range(2)]
        while len(here.upstream.asked) < 2:
            await asyncio.sleep(0.005)
        status, headers, body = await here.ask("/open/a")
        assert (status, problem(body)) == (503, "overloaded")
        assert headers["Retry-After"] == "1"
        assert await here.status("/health/ready") == 200
        async with here.http.get(here.url + "/open/live") as live:
            assert await live.content.readany() == b"begun"
            assert await here.status("/open/live") == 503
            here.upstream.go_on.set()
            assert await asyncio.gather(*waiting) == [200, 200]
        assert await here.status("/open/a") == 200
        assert await here.status("/open/live") == 200


async def test_an_upstream_that_fails_turns_nobody_away_from_the_others(here: Here) -> None:
    assert [await here.status("/nowhere") for _ in range(21)] == [502] * 20 + [503]
    status, _, body = await here.ask("/health/ready")
    checks = json.loads(body)["checks"]
    assert (status, checks["gateway.nowhere"].split(":")[0]) == (200, "degraded")


# -- Answers made smaller


@pytest.mark.parametrize("pieces", [1, 3])
async def test_an_answer_is_compressed_for_who_takes_it(here: Here, pieces: int) -> None:
    for size in (1_000, 64 * 1024, 300_000):
        path, body = f"/open/text?size={size}&pieces={pieces}", b"x" * size * pieces
        _, headers, small = await here.ask(path, headers={"Accept-Encoding": "br, gzip"})
        assert (headers["Content-Encoding"], headers["ETag"]) == ("gzip", 'W/"tag"')
        assert (headers["Vary"], headers["Content-Type"]) == ("Accept-Encoding", "text/plain")
        assert headers.get("Content-Length") == (str(len(small)) if pieces == 1 else None)
        assert len(small) < len(body) / 2
        assert gzip.decompress(small) == body
        for refusal in ("identity", "gzip;q=0", "br"):
            _, headers, plain = await here.ask(path, headers={"Accept-Encoding": refusal})
            assert (plain, headers["ETag"], headers["Vary"]) == (body, '"tag"', "Accept-Encoding")
            assert "Content-Encoding" not in headers


async def test_what_is_better_left_alone_is(here: Here) -> None:
    for method, size, told in [
        ("GET", 999, {}),
        ("HEAD", 5000, {}),
        ("GET", 5000, {"Content-Type": "image/png"}),
        ("GET", 5000, {"Content-Type": "text/event-stream"}),
        ("GET", 5000, {"Content-Encoding": "br"}),
        ("GET", 5000, {"Content-Range": "bytes 0-4999/9000"}),
        ("GET", 5000, {"Cache-Control": "public, No-Transform"}),
        ("GET", 5000, {"Vary": "Origin, Accept-Encoding"}),
    ]:
        asking = {"Accept-Encoding": "gzip", "told": json.dumps(told)}
        _, headers, body = await here.ask(f"/open/text?size={size}", method, headers=asking)
        assert headers.get("Content-Encoding") == told.get("Content-Encoding")
        assert (headers["ETag"], headers["Content-Length"]) == ('"tag"', str(size))
        assert body == (b"x" * size if method == "GET" else b"")


async def test_texts_are_compressed_and_nothing_else(here: Here) -> None:
    for content_type, small in {
        "application/json": True,
        "application/problem+json; charset=utf-8": True,
        "TEXT/HTML": True,
        "image/svg+xml": True,
        "text/javascript": True,
        "application/octet-stream": False,
        "font/woff2": False,
    }.items():
        asking = {"Accept-Encoding": "gzip", "told": json.dumps({"Content-Type": content_type})}
        _, headers, _ = await here.ask("/open/text?size=5000", headers=asking)
        assert ("Content-Encoding" in headers) == small, content_type


# -- Other origins


async def test_a_page_of_a_named_origin_may_read_and_ask_first(opened: Opened) -> None:
    async with opened(cors_origins=frozenset({FRIEND})) as here:
        for path in ("/open/a", "/unknown", "/signed/a"):
            _, headers, _ = await here.ask(path, headers={"Origin": FRIEND})
            assert headers["Access-Control-Allow-Origin"] == FRIEND
            assert "Retry-After" in headers["Access-Control-Expose-Headers"]
        first = {
            "Origin": FRIEND,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        }
        asked = len(here.upstream.asked)
        status, headers, body = await here.ask("/signed/a", "OPTIONS", headers=first)
        assert (status, body, len(here.upstream.asked)) == (204, b"", asked)
        assert headers["Access-Control-Allow-Origin"] == FRIEND
        assert "POST" in headers["Access-Control-Allow-Methods"]
        assert headers["Access-Control-Allow-Headers"] == first["Access-Control-Request-Headers"]
        assert "Access-Control-Allow-Credentials" not in headers


async def test_no_other_origin_is_told_anything(opened: Opened, here: Here) -> None:
    others = (
        "https://friend.example.org",
        "http://friend.example",
        "https://FRIEND.example",
        "null",
    )
    async with opened(cors_origins=frozenset({FRIEND})) as strict:
        for origin in others:
            _, headers, _ = await strict.ask("/open/a", headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in headers
            assert headers["Vary"] == "Origin"
            first = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            status, headers, _ = await strict.ask("/open/a", "OPTIONS", headers=first)
            assert (status, "Access-Control-Allow-Methods" in headers) == (405, False)
    _, headers, _ = await here.ask("/open/a", headers={"Origin": FRIEND})
    assert "Vary" not in headers
    assert "Access-Control-Allow-Origin" not in headers


# -- What is counted


async def test_requests_are_counted_by_route_and_refusals_by_reason(here: Here) -> None:
    before = {reason: refused.of(reason).value for reason in ("not-found", "late", "too-large")}
    for path in (
        "/open/a",
        "/open/b",
        "/apart/a",
        "/apart/b",
        "/unknown/1",
        "/unknown/2",
        "/open/late",
        "/signed/x",
    ):
        await here.status(path)
    await here.status("/hot", "POST", data=b"1")
    await here.status("/hot", "POST", data=b"x" * 2000)
    counted = telemetry.Requests(here.registry).done
    figures = {labels: counter.value for labels, counter in counted.items() if counter.value}
    assert figures == {
        ("GET", "/{path:path}", "2xx"): 2,
        ("GET", "/apart", "2xx"): 2,
        ("GET", "other", "4xx"): 2,
        ("GET", "/open/late", "5xx"): 1,
        ("GET", "/signed", "4xx"): 1,
        ("POST", "/hot", "2xx"): 1,
        ("POST", "/hot", "4xx"): 1,
    }
    more = {reason: refused.of(reason).value - value for reason, value in before.items()}
    assert more == {"not-found": 2, "late": 1, "too-large": 1}
