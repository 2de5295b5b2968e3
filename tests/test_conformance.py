"""Two doors, one table: what it says is so at our own door and at an Envoy rendered from it.

Both are real processes before the same upstream, which does as it is told and keeps what it was
asked. Where they may differ, a case accepts a set and says why.
"""

import asyncio
import gzip
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from ipaddress import ip_address
from itertools import count
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import pytest
from joserfc import jwt

from holdfast.core.tests.issuer import Issuer
from tests.doors import (
    FRIEND,
    LAST_CHUNK,
    SHORTLY_S,
    Answer,
    Exchange,
    Here,
    Script,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

WINDOW_S = 2  # as in doors.toml
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


# -- Where a request goes


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("/", "steady"),
        ("/open", "steady"),
        ("/open/", "steady"),
        ("/open/anything/below", "steady"),
        ("/open?with=a&query", "steady"),
        ("/open?url=http://one/../two;three", "steady"),
        ("/opening", None),
        ("/ope", None),
        ("/open/inner", "other"),
        ("/open/inner/below", "other"),
        ("/open/innermost", "steady"),
        ("/open/only", "other"),
        ("/open/only/below", "steady"),
        ("/things", None),
        ("/things/", None),
        ("/things/7", "steady"),
        ("/things/7/below", "steady"),
        ("/things/7/parts", "other"),
        ("/things/7/parts/below", "steady"),
        ("/things/first", "other"),
        ("/things/first/parts", "other"),
        ("/unknown", None),
    ],
)
async def test_the_longest_path_of_the_table_wins(here: Here, path: str, whose: str | None) -> None:
    before = len(here.upstream.asked), len(here.other.asked)
    answer = await here.ask("GET", path)
    asked = len(here.upstream.asked) - before[0], len(here.other.asked) - before[1]
    assert asked == {"steady": (1, 0), "other": (0, 1), None: (0, 0)}[whose]
    if whose is None:
        assert answer.status == 404
        assert answer.problem["type"] == "/problems/not-found"
    else:
        assert (answer.status, answer.body) == (200, b"done")
        assert (here.upstream if whose == "steady" else here.other).asked[-1].target == path


# -- Who may go on


async def test_a_valid_token_goes_on_and_is_passed_on(here: Here) -> None:
    token = here.issuer.token()
    assert (await here.ask("GET", "/signed", token=token)).status == 200
    assert here.upstream.last("/signed").header("authorization") == f"Bearer {token}"


@pytest.mark.parametrize(
    "wrong",
    [
        "missing",
        "empty",
        "expired",
        "audience",
        "issuer",
        "unsigned",
        "public key as secret",
        "cut",
    ],
)
async def test_no_other_token_goes_on(here: Here, wrong: str) -> None:
    before = len(here.upstream.for_path("/signed"))
    answer = await here.ask("GET", "/signed", token=_wrong_token(here.issuer, wrong))
    assert answer.status == 401
    assert answer.problem["type"] == "/problems/unauthenticated"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(here.upstream.for_path("/signed")) == before


async def test_a_token_in_the_address_is_no_token(here: Here) -> None:
    token = here.issuer.token()
    assert (await here.ask("GET", f"/signed?access_token={token}")).status == 401


async def test_what_is_public_needs_no_token_and_takes_any(here: Here) -> None:
    for token in (None, "nonsense", _wrong_token(here.issuer, "expired")):
        assert (await here.ask("GET", "/open", token=token)).status == 200


def _wrong_token(issuer: Issuer, wrong: str) -> str | None:
    good = issuer.token()
    head, claims, signature = good.split(".")
    others = _decoded(claims) | {"iss": "https://another.example"}
    signed = f"{_encoded(_decoded(head) | {'alg': 'HS256'})}.{claims}"
    public = issuer._key.as_pem(private=False)
    return {
        "missing": None,
        "empty": "",
        "expired": issuer.token(lives_s=-120),
        "audience": issuer.token(audience="another"),
        "issuer": jwt.encode(_decoded(head), others, issuer._key, algorithms=["RS256"]),
        "unsigned": f"{_encoded(_decoded(head) | {'alg': 'none'})}.{claims}.",
        "public key as secret": f"{signed}.{_base64(hmac.digest(public, signed.encode(), 'sha256'))}",
        "cut": f"{head}.{claims}.{signature[:-8]}",
    }[wrong]


def _decoded(segment: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(urlsafe_b64decode(segment + "=="))
    return told


def _encoded(told: dict[str, Any]) -> str:
    return _base64(json.dumps(told).encode())


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


# -- How often


async def test_an_address_may_ask_so_often_whatever_it_forwards(here: Here) -> None:
    answers = [
        await here.ask("GET", "/few", X_Forwarded_For=f"203.0.113.{number}") for number in range(7)
    ]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    _check_refusal(answers[-1], limit=5, period_s=60)
    assert (await here.ask("GET", "/few/below")).status == 429
    assert (await here.ask("GET", "/open")).status == 200


async def test_a_user_may_ask_so_often_and_another_is_counted_apart(here: Here) -> None:
    token, another = here.issuer.token(person := uuid4()), here.issuer.token()
    answers = [await here.ask("GET", "/mine", token=token) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 3 + [429]
    _check_refusal(answers[-1], limit=3, period_s=60)
    assert (await here.ask("GET", "/mine", token=here.issuer.token(person))).status == 429
    assert (await here.ask("GET", "/mine", token=another)).status == 200


def _check_refusal(answer: Answer, *, limit: int, period_s: int) -> None:
    assert answer.problem["type"] == "/problems/too-many-requests"
    assert 1 <= int(answer.headers["Retry-After"]) <= period_s / limit
    assert answer.headers["RateLimit-Limit"] == str(limit)
    assert answer.headers["RateLimit-Remaining"] == "0"


# -- When an upstream fails


def _failing(failures: int, of: int) -> Script:
    """So many of so many fail, spread evenly: in no row of `of` calls are there more."""
    asked = count()

    async def answer(exchange: Exchange) -> None:
        await exchange.body()
        fails = next(asked) * failures % of < failures
        await exchange.answer(500 if fails else 200)

    return answer


async def _until_closed_to_us(here: Here, path: str) -> Answer:
    """Ask until the door refuses by itself, which no upstream of ours would say with 503."""
    async with asyncio.timeout(SHORTLY_S):
        while (answer := await here.ask("GET", path)).status != 503:
            pass
    return answer


async def _for_a_while(here: Here, path: str) -> set[int]:
    """What is answered in some windows, each with many calls."""
    until = time.monotonic() + 2 * WINDOW_S
    statuses = set()
    while time.monotonic() < until:
        statuses.add((await here.ask("GET", path)).status)
    return statuses


async def test_half_of_failures_opens_the_breaker_and_less_does_not(here: Here) -> None:
    async def conflict(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(409)

    here.upstream.scripts |= {
        "/half": _failing(50, of=100),
        "/less": _failing(49, of=100),
        "/conflict": conflict,
    }
    refusal, less, conflicts = await asyncio.gather(
        _until_closed_to_us(here, "/half"),
        _for_a_while(here, "/less"),
        _for_a_while(here, "/conflict"),
    )
    assert refusal.problem["type"] == "/problems/breaker-open"
    assert int(refusal.headers["Retry-After"]) >= 1
    assert less == {200, 500}
    assert conflicts == {409}


async def test_an_open_breaker_asks_nobody_and_closes_when_the_upstream_is_well(here: Here) -> None:
    here.upstream.scripts["/failing"] = _failing(1, of=1)
    async with asyncio.timeout(SHORTLY_S):
        while True:  # on a busy machine it may have opened and be half open when we come again
            await _until_closed_to_us(here, "/failing")
            asked = len(here.upstream.for_path("/failing"))
            if (await here.ask("GET", "/failing")).status == 503:
                break
    assert len(here.upstream.for_path("/failing")) == asked

    del here.upstream.scripts["/failing"]
    async with asyncio.timeout(SHORTLY_S):
        while (await here.ask("GET", "/failing")).status != 200:
            await asyncio.sleep(0.02)
    assert {(await here.ask("GET", "/failing")).status for _ in range(10)} == {200}


async def test_an_upstream_that_is_not_there_is_told_as_such(here: Here) -> None:
    answer = await here.ask("POST", "/nowhere", b"{}")
    assert answer.status == 502
    assert answer.problem["type"] == "/problems/upstream-away"


async def test_an_answer_that_does_not_begin_in_time_is_given_up(here: Here) -> None:
    async def hesitate(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.reader.read()  # until the door hangs up

    # On a connection that is there: for a new one, a door that stands still may have no time left.
    async with asyncio.timeout(SHORTLY_S):
        while (await here.ask("GET", "/slow/well")).status != 200:
            pass
    here.upstream.scripts["/slow"] = hesitate
    began = time.monotonic()
    answer = await here.ask("GET", "/slow")
    # Of half a second: our door rather looks early than late.
    assert time.monotonic() - began >= 0.4
    assert answer.status == 504
    assert answer.problem["type"] == "/problems/late"
    async with asyncio.timeout(SHORTLY_S):
        while not here.upstream.for_path("/slow"):  # what was sent there may be read after that
            await asyncio.sleep(0.01)
        await here.upstream.last("/slow").gone.wait()
    assert len(here.upstream.for_path("/slow")) == 1  # nobody asks twice for what took too long


def _reset_first(times: int) -> Script:
    left = times

    async def answer(exchange: Exchange) -> None:
        nonlocal left
        await exchange.body()
        left -= 1
        if left >= 0:
            exchange.reset()
        else:
            await exchange.answer(200, b"done")

    return answer


async def test_what_changes_nothing_is_asked_once_more_and_nothing_else_is(here: Here) -> None:
    for method, path, resets, status, asked in [
        ("GET", "/flaky/once", 1, 200, 2),
        ("PUT", "/flaky/put", 1, 200, 2),
        ("GET", "/flaky/always", 9, 502, 2),
        ("POST", "/flaky/post", 1, 502, 1),
        ("PATCH", "/flaky/patch", 1, 502, 1),
    ]:
        # The budget is a share of what was asked just now.
        await asyncio.gather(*(here.ask("GET", "/flaky/well") for _ in range(20)))
        here.upstream.scripts[path] = _reset_first(resets)
        answer = await here.ask(method, path, b"body" if method in {"POST", "PATCH"} else None)
        assert (answer.status, len(here.upstream.for_path(path))) == (status, asked), path


async def test_a_storm_is_not_doubled_by_asking_again(here: Here) -> None:
    here.upstream.scripts["/storm"] = _reset_first(10_000)
    answers = await asyncio.gather(*(here.ask("GET", "/storm") for _ in range(100)))
    assert {answer.status for answer in answers} <= {502, 503}
    assert len(here.upstream.for_path("/storm")) <= 150


async def test_no_header_orders_retries_or_a_timeout(here: Here) -> None:
    here.upstream.scripts["/flaky/ordered"] = _reset_first(1)
    answer = await here.ask(
        *("POST", "/flaky/ordered", b"body"),
        x_envoy_retry_on="reset,5xx",
        x_envoy_max_retries="5",
        x_envoy_upstream_rq_timeout_ms="1",
    )
    assert answer.status == 502
    assert len(here.upstream.for_path("/flaky/ordered")) == 1


# -- Headers


async def test_an_id_is_made_or_kept_and_told_to_both_sides(here: Here) -> None:
    made = await here.ask("GET", "/open")
    told = here.upstream.last("/open").header("x-request-id")
    assert told
    assert len(told) >= 16
    assert made.headers["X-Request-Id"] == told
    kept = await here.ask("GET", "/open", X_Request_Id="0123456789abcdef", traceparent=TRACE)
    assert kept.headers["X-Request-Id"] == "0123456789abcdef"
    exchange = here.upstream.last("/open")
    assert exchange.header("x-request-id") == "0123456789abcdef"
    assert TRACE.split("-")[1] in (exchange.header("traceparent") or "")


async def test_headers_for_one_hop_end_at_the_door(here: Here) -> None:
    heard = await here.door.say(
        b"GET /open/hop HTTP/1.1\r\nHost: door\r\nConnection: close, X-Mine, keep-alive\r\n"
        b"X-Mine: private\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: close\r\n"
        b"Proxy-Authorization: Basic eA==\r\nX-Other: kept\r\n\r\n"
    )
    assert heard.startswith(b"HTTP/1.1 200"), heard
    names = {name for name, _ in here.upstream.last("/open/hop").headers}
    assert "x-other" in names
    assert not names & {"x-mine", "keep-alive", "proxy-connection"}


async def test_the_upstream_learns_who_asked_and_how(here: Here) -> None:
    await here.ask("GET", "/open", X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https")
    exchange = here.upstream.last("/open")
    # For whoever asks from its own machine, Envoy writes that machine's address.
    assert ip_address(exchange.header("x-forwarded-for") or "") != ip_address("203.0.113.9")
    assert exchange.header("x-forwarded-proto") == "http"
    assert exchange.header("host") == urlsplit(here.door.url).netloc


async def test_headers_of_an_answer_keep_their_order_and_number(here: Here) -> None:
    async def bake(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(
            200,
            b"{}",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "Set-Cookie: a=3",
            "Connection: X-Inner",
            "X-Inner: private",
            "X-Outer: kept",
        )

    here.upstream.scripts["/open/cookies"] = bake
    answer = await here.ask("GET", "/open/cookies")
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2", "a=3"]
    assert answer.headers["X-Outer"] == "kept"


async def test_only_friends_pages_may_read_answers(here: Here) -> None:
    friend = await here.ask("GET", "/open", Origin=FRIEND)
    assert friend.headers["Access-Control-Allow-Origin"] == FRIEND
    stranger = await here.ask("GET", "/open", Origin="https://stranger.example")
    assert "Access-Control-Allow-Origin" not in stranger.headers

    asked = len(here.upstream.asked)
    preflight = await here.ask(
        *("OPTIONS", "/signed"),
        Origin=FRIEND,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,idempotency-key",
    )
    assert preflight.status in {200, 204}
    assert preflight.headers["Access-Control-Allow-Origin"] == FRIEND
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "idempotency-key" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert len(here.upstream.asked) == asked


# -- Bodies


async def test_a_body_arrives_as_it_was_sent(here: Here) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two ", b"three"):
            yield piece

    for data, arrives in [
        (b"", b""),
        (b"whole", b"whole"),
        (pieces(), b"one two three"),
        (bytes(range(256)) * 200, bytes(range(256)) * 200),
    ]:
        assert (await here.ask("POST", "/open/body", data)).status == 200
        assert here.upstream.last("/open/body").read == arrives


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused(here: Here, *, declared: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    answer = await here.ask("POST", "/small", b"x" * 1100 if declared else pieces())
    assert answer.status == 413
    assert answer.problem["type"] == "/problems/too-large"
    assert not any(exchange.whole for exchange in here.upstream.for_path("/small"))
    assert (await here.ask("POST", "/small/fits", b"x" * 1000)).status == 200


async def test_who_waits_for_leave_to_send_a_body_gets_it(here: Here) -> None:
    reader, writer = await here.door.open()
    writer.write(
        b"POST /open/leave HTTP/1.1\r\nHost: door\r\nExpect: 100-continue\r\n"
        b"Content-Length: 4\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(SHORTLY_S):
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert await reader.readline() == b"\r\n"
        writer.write(b"body")
        heard = await reader.read()
    writer.close()
    assert heard.startswith(b"HTTP/1.1 200")
    assert here.upstream.last("/open/leave").read == b"body"


async def test_answers_without_a_body_have_none(here: Here) -> None:
    async def tell(exchange: Exchange) -> None:
        await exchange.body()
        status = int(exchange.target.rsplit("/", 1)[1])
        if exchange.method == "HEAD":
            await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        else:
            await exchange.send(b'HTTP/1.1 %d Told\r\nETag: "x"\r\n\r\n' % status)

    for method, path in [("HEAD", "/open/200"), ("GET", "/open/204"), ("GET", "/open/304")]:
        here.upstream.scripts[path] = tell
        heard = await here.door.say(
            f"{method} {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = heard.partition(b"\r\n\r\n")
        assert head.split(b" ")[1].decode() == path.rsplit("/", 1)[1]
        assert body == b""
        assert b"transfer-encoding" not in head.lower()
        if method == "HEAD":
            assert b"content-length: 1234" in head.lower()


async def test_a_large_answer_passes_through_without_being_collected(here: Here) -> None:
    """More than the door may hold, and its first byte is there before its last is made."""
    first_was_read = asyncio.Event()
    piece, pieces = bytes(range(256)) * 256, 160

    async def pour(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.begin("Content-Type: application/octet-stream")
        await exchange.chunk(piece)
        await first_was_read.wait()
        for _ in range(pieces - 1):
            await exchange.chunk(piece)
        await exchange.send(LAST_CHUNK)

    here.upstream.scripts["/large"] = pour
    length = 0
    async with here.http.get(here.door.url + "/large") as answer:
        async for read in answer.content.iter_any():
            first_was_read.set()
            length += len(read)
    assert length == len(piece) * pieces


@pytest.mark.parametrize(
    ("size", "kind_of", "compressed"),
    [
        (999, "application/json", False),
        (1000, "application/json", True),
        (5000, "text/html; charset=utf-8", True),
        (5000, "image/png", False),
    ],
)
async def test_what_is_worth_it_is_compressed(
    here: Here, size: int, kind_of: str, *, compressed: bool
) -> None:
    body = b"x" * size

    async def tell(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(200, body, f"Content-Type: {kind_of}")

    here.upstream.scripts["/open/text"] = tell
    answer = await here.ask("GET", "/open/text", Accept_Encoding="gzip")
    assert answer.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(answer.body) if compressed else answer.body) == body
    assert (
        "Content-Encoding"
        not in (await here.ask("GET", "/open/text", Accept_Encoding="identity")).headers
    )


async def test_what_is_compressed_already_is_left_alone(here: Here) -> None:
    ready = gzip.compress(bytes(range(256)) * 20)

    async def tell(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(
            200, ready, "Content-Type: application/json", "Content-Encoding: gzip", 'ETag: "ready"'
        )

    here.upstream.scripts["/open/ready"] = tell
    answer = await here.ask("GET", "/open/ready", Accept_Encoding="gzip")
    assert (answer.body, answer.headers["ETag"]) == (ready, '"ready"')


# -- What goes on


async def test_events_come_one_by_one_as_they_are_made(here: Here) -> None:
    heard = asyncio.Event()

    async def tell(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.begin("Content-Type: text/event-stream")
        for number in range(3):
            await exchange.chunk(b"data: %d\n\n" % number)
            await heard.wait()
            heard.clear()
        await exchange.send(LAST_CHUNK)

    here.upstream.scripts["/live/events"] = tell
    async with here.http.get(
        here.door.url + "/live/events", headers={"Accept-Encoding": "gzip"}
    ) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert "Content-Encoding" not in answer.headers
        told = []
        async for piece in answer.content.iter_any():
            told.append(piece)
            heard.set()
    assert told == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


async def test_an_upstream_learns_that_its_listener_left(here: Here) -> None:
    async def tell(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.begin("Content-Type: text/event-stream")
        await exchange.chunk(b"data: 0\n\n")
        await exchange.reader.read()

    here.upstream.scripts["/live/left"] = tell
    async with here.http.get(here.door.url + "/live/left") as answer:
        await answer.content.readany()
        answer.close()
    async with asyncio.timeout(SHORTLY_S):
        await here.upstream.last("/live/left").gone.wait()


async def test_a_web_socket_is_let_in_only_where_the_table_says_so(here: Here) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await here.http.ws_connect(here.door.url + "/open/socket")
    assert 400 <= refused.value.status < 500
    assert here.upstream.for_path("/open/socket") == []


async def test_a_web_socket_goes_both_ways_and_ends_as_it_was_ended(here: Here) -> None:
    async with here.http.ws_connect(here.door.url + "/socket") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(bytes(range(256)) * 100)
        assert await socket.receive_bytes() == bytes(range(256)) * 100
        await socket.send_str("end with 4001")
        ended = await socket.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 4001)
