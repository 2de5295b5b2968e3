import asyncio
import gzip
import json
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.cli.servers import free_port
from holdfast.core import sse
from holdfast.core.breaker import STATES, State
from holdfast.core.tests.patience import PATIENCE_S
from holdfast.gateway import connections, remote
from holdfast.gateway.tests.upstreams import (
    CLIENT,
    END,
    REQUEST_ID,
    Asked,
    Clock,
    Upstream,
    before,
    get,
    status_of,
    talk,
)

SHORT_S = 0.3
MIB = 1024 * 1024


async def nothing(asked: Asked) -> None:
    """No answer, for as long as anybody waits for one."""
    await asked.left()
    asked.writer.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.01)


def problem_of(answer: bytes) -> str:
    told = json.loads(answer.partition(END)[2])
    assert told["status"] == status_of(answer)
    return str(told["type"])


def count_of(outcome: str) -> float:
    return remote.outcomes.of("test", outcome).value


def state() -> list[State]:
    return [name for name in STATES if remote.states.of("test", name).value]


# -- What goes on, and what does not --


async def test_an_address_goes_on_byte_for_byte() -> None:
    target = "/api/%7Ea/./b/../c//d%2Fe/%2e%2e/;x?q=%20&q=../..&&z"
    async with Upstream.of(Asked.answer) as upstream, before(upstream.url) as url:
        await talk(url, get(target))
    assert [asked.target.decode() for asked in upstream.asked] == [target]


async def test_headers_go_on_as_they_came_but_for_those_of_a_connection() -> None:
    sent = get(
        *("/", "Connection: X-Mine, content-length, host", "X-Mine: 1", "Keep-Alive: 5"),
        *("TE: trailers", "Trailer: x", "Upgrade: h2c", "Proxy-Authorization: x", "Proxy: evil"),
        *("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: ftp", "Forwarded: for=1.2.3.4"),
        *("X-Real-Ip: 1.2.3.4", "X-Request-Id: theirs", "X-Envoy-Expected-Rq-Timeout-Ms: 9999999"),
        *("Traceparent: 00-aa-bb-01", "Cookie: a=1", "Cookie: b=2", "Accept-Encoding: br"),
        "Content-Length: 2",
    )
    began = time.monotonic()
    async with Upstream.of(Asked.answer) as upstream, before(upstream.url) as url:
        await talk(url, sent + b"ab")
        took_ms = (time.monotonic() - began) * 1000
        (asked,) = upstream.asked
        assert await asked.reader.readexactly(2) == b"ab", "no `Connection` can unframe a body"
    *told, (name, left_ms), length = asked.headers
    assert told == [
        (b"host", b"shop.example"),
        (b"traceparent", b"00-aa-bb-01"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"accept-encoding", b"br"),
        (b"x-forwarded-for", CLIENT.encode()),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"shop.example"),
        (b"x-request-id", REQUEST_ID.encode()),
    ]
    assert name == b"x-envoy-expected-rq-timeout-ms"
    assert PATIENCE_S * 1000 - took_ms - 1 <= int(left_ms) <= PATIENCE_S * 1000
    assert length == (b"content-length", b"2")


async def test_an_answer_goes_back_as_it_came_but_for_the_headers_of_a_connection() -> None:
    body = gzip.compress(b"not ours to open")

    async def answer(asked: Asked) -> None:
        await asked.answer(
            body,
            "302 Found",
            *(b"Location: /elsewhere", b"Set-Cookie: b=1", b"X-Other: 1", b"Set-Cookie: a=2"),
            *(b"Connection: X-Private", b"X-Private: 1", b"Keep-Alive: timeout=5"),
            *(b"Content-Encoding: gzip", b"Server: theirs", b"Date: yesterday"),
        )

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        head, _, received = (await talk(url, get())).partition(END)
    assert received == body
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 302 Found"
    assert [line for line in lines if line.startswith(b"set-cookie")] == [
        b"set-cookie: b=1",
        b"set-cookie: a=2",
    ]
    assert {b"location: /elsewhere", b"content-encoding: gzip", b"server: theirs"} <= {*lines}
    assert not re.search(rb"private|keep-alive|yesterday", head)
    assert len(upstream.asked) == 1, "nobody follows"


async def test_what_has_no_body_has_none_and_its_connection_is_used_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(asked: Asked) -> None:
        method, _, rest = asked.head.partition(b" /")
        status = rest.partition(b" ")[0]
        if method == b"HEAD":
            await asked.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1000" + END)
        else:
            length = b"content-length: 10\r\n" if status == b"304" else b""
            await asked.say(b"HTTP/1.1 %b X\r\n%betag: x" % (status, length) + END)

    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url) as url,
        aiohttp.ClientSession() as http,
    ):
        for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 200)):
            async with http.request(method, f"{url}/{status}") as told:
                assert told.status == status
                assert await told.read() == b""
                if method == "HEAD":
                    assert told.headers["content-length"] == "1000"
    assert upstream.connections == 1
    assert not caplog.records


async def test_informational_answers_are_passed_over() -> None:
    async def answer(asked: Asked) -> None:
        await asked.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 3" + END)
        await asked.say(b"HTTP/1.1 100 Continue" + END)
        await asked.answer(b"whole")

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        told = await talk(url, get())
    assert status_of(told) == 200
    assert told.endswith(END + b"whole")
    assert b"link" not in told


async def test_trailers_are_dropped() -> None:
    async def answer(asked: Asked) -> None:
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"
        await asked.say(head + END + b"5\r\nwhole\r\n0\r\nset-cookie: late=1" + END)

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        told = await talk(url, get())
    assert b"whole" in told
    assert b"late" not in told


async def test_an_upstream_may_be_reached_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    async with Upstream.of(Asked.answer, ssl=serving) as upstream:
        async with before(upstream.url) as url:
            assert status_of(await talk(url, get())) == 502, "nobody vouches for it"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with before(upstream.url) as url:
            assert status_of(await talk(url, get())) == 200


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "upstream.pem"
    file.write_bytes(text + made.public_bytes(serialization.Encoding.PEM))
    return file


# -- Bodies --


async def test_bodies_go_both_ways_piece_by_piece() -> None:
    async def answer(asked: Asked) -> None:
        await asked.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked" + END)
        while size := int(await asked.reader.readline(), 16):
            piece = await asked.reader.readexactly(size + 2)
            await asked.say(b"%x\r\n" % size + piece)
        await asked.say(await asked.reader.readline() and b"0\r\nx-trailer: dropped" + END)

    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"piece %d" % number
            assert await heard.get() == b"piece %d" % number, "before the next was sent"

    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url) as url,
        aiohttp.ClientSession() as http,
        asyncio.timeout(PATIENCE_S),
        http.post(url, data=pieces()) as told,
    ):
        async for piece in told.content.iter_any():
            heard.put_nowait(piece)
        assert "x-trailer" not in told.headers
    assert upstream.asked[0].all(b"transfer-encoding") == [b"chunked"]


async def test_a_body_with_a_length_keeps_it() -> None:
    body = b"x" * MIB

    async def answer(asked: Asked) -> None:
        (length,) = asked.all(b"content-length")
        await asked.answer(await asked.reader.readexactly(int(length)))

    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url) as url,
        aiohttp.ClientSession() as http,
    ):
        for _ in range(2):
            async with http.put(url, data=body) as told:
                assert told.content_length == MIB
                assert await told.read() == body
    assert upstream.connections == 1


async def test_an_answer_may_come_before_the_body_has_ended() -> None:
    async def answer(asked: Asked) -> None:
        await asked.answer(b"no", "413 Content Too Large")

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        told = await talk(url, get("/", "Content-Length: 1000000", method="POST"), b"x" * 100)
        assert status_of(told) == 413
        assert status_of(await talk(url, get())) == 413
    assert upstream.connections == 2, "what is left of the body is nobody's next request"


async def test_nobody_buffers_what_is_not_read() -> None:
    written = 0

    async def answer(asked: Asked) -> None:
        nonlocal written
        await asked.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d" % (256 * MIB) + END)
        while True:
            await asked.say(b"x" * MIB)
            written += MIB

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        listening = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        listening.sendall(get())
        known = -1
        while known != written or not written:
            known = written
            await asyncio.sleep(0.1)
        listening.close()
    assert written < 32 * MIB, "what the sockets hold"


async def test_nobody_buffers_what_the_upstream_does_not_take() -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield b"x" * MIB
            sent += MIB

    async with (
        Upstream.of(lambda _: asyncio.sleep(60)) as upstream,
        before(upstream.url) as url,
        aiohttp.ClientSession() as http,
    ):
        posting = asyncio.create_task(http.post(url, data=pieces()).__aenter__())
        known = -1
        while known != sent or not sent:
            known = sent
            await asyncio.sleep(0.1)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        upstream.asked[0].hang_up()
    assert sent < 32 * MIB, "what the sockets hold"


# -- Upstreams that do not do as they should --

HUNG_UP = (b"", b"HTTP/1.1 200 OK\r\nContent-Le")
ODD = {
    "hangs up at once": HUNG_UP[0],
    "says something else": b"220 mail.example ESMTP\r\n",
    "hangs up in the head": HUNG_UP[1],
    "switches protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade" + END,
    "frames twice": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked" + END,
    "has two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2" + END + b"ab",
    "has no such status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0" + END,
    "has endless headers": b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"y" * 1000) * 200,
    "only informs": b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
}


@pytest.mark.parametrize("said", ODD.values(), ids=ODD.keys())
async def test_what_is_no_answer_is_a_502(said: bytes) -> None:
    async def answer(asked: Asked) -> None:
        await asked.say(said)
        if said in HUNG_UP:
            asked.writer.close()
        await asked.left()

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        told = await talk(url, get(method="POST"))
        assert (status_of(told), problem_of(told)) == (502, "/problems/upstream-away")


async def test_nobody_there_is_a_502() -> None:
    async with before(f"http://127.0.0.1:{free_port()}") as url:
        told = await talk(url, get())
    assert (status_of(told), problem_of(told)) == (502, "/problems/upstream-away")


HALVES = {
    "with a length": (b"content-length: 100", b"half", False),
    "in chunks": (b"transfer-encoding: chunked", b"4\r\nhalf\r\n", False),
    "with a length, reset": (b"content-length: 100", b"half", True),
    "in chunks, reset": (b"transfer-encoding: chunked", b"4\r\nhalf\r\n", True),
    "to the connection's end, reset": (b"connection: close", b"half", True),
}


@pytest.mark.parametrize(("header", "half", "reset"), HALVES.values(), ids=HALVES.keys())
async def test_half_an_answer_never_looks_whole(
    header: bytes,
    half: bytes,
    reset: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def answer(asked: Asked) -> None:
        await asked.say(b"HTTP/1.1 200 OK\r\n" + header + END + half)
        await asyncio.sleep(0.05)
        asked.hang_up() if reset else asked.writer.close()

    cut = count_of("cut")
    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url) as url,
        aiohttp.ClientSession() as http,
    ):
        told = await http.get(url)
        assert told.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await told.read()
    assert count_of("cut") == cut + 1


async def test_a_body_may_go_on_to_the_end_of_its_connection() -> None:
    async def answer(asked: Asked) -> None:
        await asked.say(b"HTTP/1.0 200 OK" + END, b"first ", b"second")
        asked.writer.close()

    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url) as url,
        aiohttp.ClientSession() as http,
        http.get(url) as told,
    ):
        assert await told.read() == b"first second"


async def test_an_answer_too_many_is_not_given_to_the_next() -> None:
    numbers = count(1)

    async def answer(asked: Asked) -> None:
        once = b"HTTP/1.1 200 OK\r\ncontent-length: 1" + END + b"%d" % next(numbers)
        await asked.say(once + b"HTTP/1.1 200 OK\r\ncontent-length: 6" + END + b"poison")

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        for number in (1, 2, 3):
            assert (await talk(url, get())).endswith(END + b"%d" % number)
    assert upstream.connections == 3


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\ncontent-length: 0" + END, b"\r\n"])
async def test_a_connection_that_says_more_later_is_not_used_again(more: bytes) -> None:
    later, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def answer(asked: Asked) -> None:
        await asked.answer(b"good")
        await later.acquire()
        await asked.say(more)
        await asked.left()
        ended.release()

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        for _ in range(3):
            assert (await talk(url, get())).endswith(END + b"good")
            later.release()
            await asyncio.wait_for(ended.acquire(), PATIENCE_S)
    assert upstream.connections == 3


# -- Time --


async def test_no_answer_in_time_is_a_504_and_ends_the_call() -> None:
    ended = asyncio.Event()

    async def answer(asked: Asked) -> None:
        await asked.left()
        ended.set()

    async with Upstream.of(answer) as upstream, before(upstream.url, begin_s=SHORT_S) as url:
        while not upstream.asked:  # the time may be over before anybody could be asked
            told = await talk(url, get())
            assert (status_of(told), problem_of(told)) == (504, "/problems/late")
        await asyncio.wait_for(ended.wait(), PATIENCE_S)


async def test_a_body_that_stalls_is_cut_off() -> None:
    async def answer(asked: Asked) -> None:
        await asked.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked" + END + b"4\r\nhalf\r\n")
        await nothing(asked)

    async with Upstream.of(answer) as upstream, before(upstream.url, timeout_s=SHORT_S) as url:
        told = await talk(url, get())
    assert status_of(told) == 200
    assert not told.endswith(b"0\r\n\r\n")


async def test_a_client_that_takes_nothing_does_not_hold_the_upstream() -> None:
    ended = asyncio.Event()

    async def answer(asked: Asked) -> None:
        await asked.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d" % (256 * MIB) + END)
        try:
            while True:
                await asked.say(b"x" * MIB)
        finally:
            ended.set()

    async with Upstream.of(answer) as upstream, before(upstream.url, timeout_s=SHORT_S) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(get())
            await asyncio.wait_for(ended.wait(), PATIENCE_S)


async def test_a_client_that_is_slow_to_send_is_not_the_upstreams_failure() -> None:
    async with (
        Upstream.of(nothing) as upstream,
        before(upstream.url, begin_s=SHORT_S, breaker={"least_calls": 1}) as url,
    ):
        while not upstream.asked:
            told = await talk(
                url, get("/", "Transfer-Encoding: chunked", method="POST"), b"1\r\nx\r\n"
            )
            assert status_of(told) == 504
        assert state() == ["closed"]


# -- Clients that leave --


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_ends_the_call(begun: bool) -> None:  # noqa: FBT001
    ended = asyncio.Event()

    async def answer(asked: Asked) -> None:
        if begun:
            await asked.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked" + END)
        await asked.left()
        ended.set()

    left = count_of("left")
    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(get())
        await until(lambda: upstream.asked)
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        await until(lambda: count_of("left") == left + 1)


async def test_a_small_body_is_whole_before_anybody_is_asked() -> None:
    async def answer(asked: Asked) -> None:
        await asked.answer(await asked.reader.readexactly(4))

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        head = get("/", "Content-Length: 4", method="POST")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head + b"ha")
        assert status_of(await talk(url, head + b"full")) == 200
        assert len(upstream.asked) == 1, "the other one came before"
        writer.write(b"lf")
        assert (await reader.read()).endswith(END + b"half")
        writer.close()


async def test_a_client_that_leaves_in_its_body_leaves_no_half_request() -> None:
    received: list[bytes] = []

    async def answer(asked: Asked) -> None:
        received.append(await asked.reader.read())

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(get("/", "Transfer-Encoding: chunked", method="POST") + b"4\r\nhalf\r\n")
        await until(lambda: upstream.asked)
        writer.transport.abort()
        await until(lambda: received)
    assert not received[0].endswith(b"0\r\n\r\n")


# -- Asked again --


async def die_later(asked: Asked) -> None:
    """The first connection is answered on, and is then found dead."""
    if asked.target == b"/last" and asked.connection == 1:
        asked.hang_up()
    else:
        await asked.answer()


@pytest.mark.parametrize(
    ("method", "header", "expected"),
    [("GET", "", 200), ("PUT", "", 200), ("POST", "", 502), ("PUT", "Content-Length: 1", 502)],
)
async def test_only_what_may_be_asked_twice_is_asked_again(
    method: str, header: str, expected: int
) -> None:
    async with Upstream.of(die_later) as upstream, before(upstream.url) as url:
        assert status_of(await talk(url, get())) == 200
        told = await talk(url, get("/last", *([header] if header else []), method=method), b"x")
        assert status_of(told) == expected
    assert len(upstream.asked) == (3 if expected == 200 else 2)


async def test_what_is_asked_again_is_asked_on_a_new_connection() -> None:
    both = asyncio.Barrier(2)

    async def answer(asked: Asked) -> None:
        if asked.target == b"/last" and asked.connection < 3:
            asked.hang_up()
        elif asked.target == b"/both":
            await both.wait()
        await asked.answer()

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        await asyncio.gather(*(talk(url, get("/both")) for _ in range(2)))
        assert status_of(await talk(url, get("/last"))) == 200
    assert upstream.connections == 3


async def test_nothing_is_asked_again_beyond_the_budget() -> None:
    async def answer(asked: Asked) -> None:
        asked.hang_up()

    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url, retries={"budget": 0.2}) as url,
    ):
        for _ in range(20):
            assert status_of(await talk(url, get())) == 502
    assert len(upstream.asked) == 20 + 4


async def test_an_answer_of_any_kind_is_not_asked_for_again() -> None:
    async def answer(asked: Asked) -> None:
        await asked.answer(b"busy", "503 Service Unavailable", b"Retry-After: 7")

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        told = await talk(url, get())
    assert status_of(told) == 503
    assert b"retry-after: 7" in told
    assert len(upstream.asked) == 1


async def test_a_connection_that_the_upstream_has_closed_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(asked: Asked) -> None:
        await asked.answer()
        if asked.target == b"/last":
            asked.writer.close()

    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        for target in ("/", "/last", "/", "/"):
            assert status_of(await talk(url, get(target, method="POST"))) == 200
            await asyncio.sleep(0.02)
        assert upstream.connections == 2
        monkeypatch.setattr(connections, "IDLE_S", 0.0)
        assert status_of(await talk(url, get(method="POST"))) == 200
    assert upstream.connections == 3, "one that was idle for long may be about to be closed"


# -- The breaker --


async def test_an_upstream_that_fails_is_left_alone_then_tried_again() -> None:
    well, clock = False, Clock()

    async def answer(asked: Asked) -> None:
        await asked.answer(b"", "200 OK" if well else "500 Internal Server Error")

    terms = {"least_calls": 4, "open_for_s": 1, "probes": 2}
    refusals = count_of("breaker-open")
    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url, breaker=terms, clock=clock) as url,
    ):
        assert [status_of(await talk(url, get())) for _ in range(4)] == [500] * 4
        assert state() == ["open"]
        told = await talk(url, get())
        assert (status_of(told), problem_of(told)) == (503, "/problems/breaker-open")
        assert b"retry-after: 1" in told
        assert len(upstream.asked) == 4
        assert count_of("breaker-open") == refusals + 1
        clock.now += 1
        assert state() == ["half_open"]
        well = True
        assert [status_of(await talk(url, get())) for _ in range(2)] == [200, 200]
        assert state() == ["closed"]


async def test_refusals_by_the_upstream_never_open_the_breaker() -> None:
    async def answer(asked: Asked) -> None:
        await asked.answer(b"", "409 Conflict")

    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url, breaker={"least_calls": 1}) as url,
        aiohttp.ClientSession() as http,
    ):
        for _ in range(100):
            async with http.get(url) as told:
                assert told.status == 409
        assert state() == ["closed"]


async def test_whoever_does_not_answer_fails_and_whoever_leaves_proves_nothing() -> None:
    once = {"least_calls": 1}
    async with (
        Upstream.of(nothing) as upstream,
        before(upstream.url, breaker=once) as url,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(get())
        await until(lambda: upstream.asked)
        left = count_of("left")
        writer.transport.abort()
        await until(lambda: count_of("left") == left + 1)
        assert state() == ["closed"]
    async with (
        Upstream.of(nothing) as upstream,
        before(upstream.url, begin_s=SHORT_S, breaker=once) as url,
    ):
        assert status_of(await talk(url, get())) == 504
        assert state() == ["open"]


async def test_no_more_wait_for_one_upstream_than_it_may_keep_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "MOST_AT_ONCE", 1)
    async with Upstream.of(nothing) as upstream, before(upstream.url) as url:
        waiting = asyncio.create_task(talk(url, get(method="POST")))
        await until(lambda: upstream.asked)
        told = await talk(url, get())
        assert (status_of(told), problem_of(told)) == (503, "/problems/upstream-full")
        upstream.asked[0].hang_up()
        assert status_of(await waiting) == 502


# -- Streams of events --


async def test_events_pass_one_by_one_and_end_well_with_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = sse.Streams()
    monkeypatch.setattr(sse, "PROCESS", here)
    tell: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(asked: Asked) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
        await asked.say(head + END)
        while True:
            event = await tell.get()
            await asked.say(b"%x\r\n%b\r\n" % (len(event), event))

    async with (
        Upstream.of(answer) as upstream,
        before(upstream.url, stream=True) as url,
        aiohttp.ClientSession() as http,
        asyncio.timeout(PATIENCE_S),
        http.get(url) as told,
    ):
        for number in range(3):
            tell.put_nowait(b"data: %d\n\n" % number)
            assert await told.content.readuntil(b"\n\n") == b"data: %d\n\n" % number
        here.end()
        assert await told.content.read() == b"", "complete, so that a browser comes again"
