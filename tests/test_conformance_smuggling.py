"""What two readers of the same bytes could take for different requests, sent to both doors.

The invariant: an upstream never sees a request that the door did not mean to send. What a door makes
of bad bytes is its own matter as long as it refuses: it may say so (4xx) or hang up without a word.
"""

import pytest

from tests.doors import LAST_CHUNK, Exchange, Here

pytestmark = pytest.mark.asyncio(loop_scope="session")

HIDDEN = b"GET /open/smuggled HTTP/1.1\r\nHost: door\r\n\r\n"


def asking(
    *headers: bytes, method: bytes = b"POST", target: bytes = b"/open/front", body: bytes = b""
) -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: door", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
EMPTY_AND_HIDDEN = LAST_CHUNK + HIDDEN


def in_chunks(body: bytes) -> bytes:
    return asking(CHUNKED, body=body)


REFUSED = {
    # How long the body is, said twice
    "length and chunks": asking(b"Content-Length: 5", CHUNKED, body=EMPTY_AND_HIDDEN),
    "chunks and length": asking(CHUNKED, b"Content-Length: 48", body=EMPTY_AND_HIDDEN),
    "two lengths": asking(b"Content-Length: 0", b"Content-Length: 43", body=HIDDEN),
    "two lengths in one line": asking(b"Content-Length: 0, 43", body=HIDDEN),
    # ... or said so that some would not understand it
    "a length with a sign": asking(b"Content-Length: +0", body=HIDDEN),
    "a length below nothing": asking(b"Content-Length: -1", body=HIDDEN),
    "a length in another base": asking(b"Content-Length: 0x2b", body=HIDDEN),
    "a length beyond counting": asking(b"Content-Length: 18446744073709551616", body=HIDDEN),
    "a length of nothing": asking(b"Content-Length: ", body=HIDDEN),
    "a length and a word": asking(b"Content-Length: 0 43", body=HIDDEN),
    "another encoding": asking(b"Transfer-Encoding: xchunked", body=EMPTY_AND_HIDDEN),
    "chunked and then another": asking(
        b"Transfer-Encoding: chunked, identity", body=EMPTY_AND_HIDDEN
    ),
    "chunked twice": asking(CHUNKED, b"Transfer-Encoding: identity", body=EMPTY_AND_HIDDEN),
    "an encoding with a tab inside": asking(
        b"Transfer-Encoding: \x0bchunked", body=EMPTY_AND_HIDDEN
    ),
    "a quoted encoding": asking(b'Transfer-Encoding: "chunked"', body=EMPTY_AND_HIDDEN),
    "a space before the colon": asking(
        b"Transfer-Encoding : chunked", b"Content-Length: 5", body=EMPTY_AND_HIDDEN
    ),
    "a space before the length's colon": asking(b"Content-Length : 43", body=HIDDEN),
    "a folded encoding": asking(
        b"Content-Length: 5", b"Transfer-Encoding:\r\n chunked", body=EMPTY_AND_HIDDEN
    ),
    # Chunks
    "a size with a sign": in_chunks(b"+5\r\nhello\r\n" + LAST_CHUNK),
    "a size below nothing": in_chunks(b"-1\r\n" + EMPTY_AND_HIDDEN),
    "a size with a base": in_chunks(b"0x5\r\nhello\r\n" + LAST_CHUNK),
    "a size that is none": in_chunks(b"G\r\n" + EMPTY_AND_HIDDEN),
    "no size": in_chunks(b"\r\n" + EMPTY_AND_HIDDEN),
    "a size beyond counting": in_chunks(b"1" + b"0" * 16 + b"\r\n" + EMPTY_AND_HIDDEN),
    "a chunk that is longer than it says": in_chunks(b"2\r\nhello\r\n" + EMPTY_AND_HIDDEN),
    "a chunk without its end": in_chunks(b"5\r\nhello" + EMPTY_AND_HIDDEN),
    "a size ended by a bare line feed": in_chunks(b"5\nhello\r\n" + EMPTY_AND_HIDDEN),
    "an extension ended by a bare line feed": in_chunks(b"5;a\nhello\r\n" + EMPTY_AND_HIDDEN),
    # Bytes that end nothing here, and something elsewhere
    "nothing in a value": asking(b"X-Odd: a\x00b", b"Content-Length: 0"),
    "nothing in a name": asking(b"X-O\x00dd: a", b"Content-Length: 0"),
    "a name without a colon": asking(b"X-Odd", b"Content-Length: 0"),
    "an empty name": asking(b": a", b"Content-Length: 0"),
    "a name with a space": asking(b"X Odd: a", b"Content-Length: 0"),
    # The request line
    "no version": b"GET /open/front\r\n\r\n",
    "a version of one's own": b"GET /open/front HTTP/1.x\r\nHost: door\r\n\r\n",
    "a later protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a target with a space": asking(target=b"/open/front HTTP/1.1 /open/smuggled"),
    "a target of bytes": asking(method=b"GET", target=b"/open/\xff\x00"),
    "a tunnel": asking(method=b"CONNECT", target=b"door:80"),
    "no host": b"GET /open/front HTTP/1.1\r\nConnection: close\r\n\r\n",
    # More than anybody needs
    "a header that has no end": asking(b"X-Long: " + b"x" * 200_000, method=b"GET"),
    "headers that have no end": asking(*(b"X-%d: x" % n for n in range(2000)), method=b"GET"),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
async def test_what_can_be_read_in_two_ways_is_refused(here: Here, raw: bytes) -> None:
    since = len(here.upstream.asked)
    heard = await here.door.say(raw)
    assert not heard or b"/problems/" in heard
    assert heard[:12] in {
        b"",
        b"HTTP/1.1 501",
        *(b"HTTP/1.1 %d" % status for status in range(400, 500)),
    }
    await _nothing_came_through(here, since)


async def _nothing_came_through(here: Here, since: int) -> None:
    """Nor is anything left behind that would go before the next request."""
    assert (await here.ask("GET", "/open/next")).body == b"done"
    seen = [exchange.target for exchange in here.upstream.asked[since:] if exchange.whole]
    assert seen == ["/open/next"]
    assert not here.upstream.misread


MENDED = {
    "a folded header": b"X-Odd: one\r\n Content-Length: 43",
    "a bare carriage return in a value": b"X-Odd: one\rContent-Length: 43",
    "two hosts": b"Host: other",
}


@pytest.mark.parametrize("line", MENDED.values(), ids=MENDED.keys())
async def test_what_a_door_may_mend_is_refused_or_one_line_for_everybody(
    here: Here, line: bytes
) -> None:
    """The standard lets it join a folded line and drop a carriage return; Envoy does, and joins hosts."""
    heard = await here.door.say(asking(line, b"Content-Length: 0", target=b"/open/mended"))
    if heard.startswith(b"HTTP/1.1 200 "):
        exchange = here.upstream.last("/open/mended")
        assert exchange.header("content-length") == "0"
        assert exchange.header("host")
        assert b"\r" not in exchange.head.replace(b"\r\n", b"")
    else:
        assert heard[:10] in {b"", b"HTTP/1.1 4"}
    await _nothing_came_through(here, len(here.upstream.asked))


@pytest.mark.parametrize(
    "target",
    [
        "//signed",
        "/open//signed",
        "/open/../signed",
        "/open/..",
        "/open/./signed",
        "/open/%2e%2e/signed",
        "/open/%2E./signed",
        "/open/..;/signed",
        "/open;/../signed",
        "/open/..%2fsigned",
        "/open%2f..%2fsigned",
        "/open/..\\signed",
        "/open/..%5csigned",
        "/open/%252e%252e/signed",
        "/open/%00",
        "/open/%0d%0aX-Injected:%20a",
        "/open/%zz",
        "/open/%",
    ],
)
async def test_a_path_that_some_would_rewrite_is_refused(here: Here, target: str) -> None:
    since = len(here.upstream.asked)
    heard = await here.door.say(asking(method=b"GET", target=target.encode()))
    assert heard.startswith(b"HTTP/1.1 400 "), heard
    assert b"/problems/" in heard
    await _nothing_came_through(here, since)


async def test_an_absolute_target_is_routed_by_its_path_and_passed_on_as_a_path(here: Here) -> None:
    heard = await here.door.say(asking(method=b"GET", target=b"http://elsewhere/open/absolute"))
    if heard.startswith(b"HTTP/1.1 200 "):
        assert here.upstream.last("/open/absolute").target == "/open/absolute"
    else:  # a door may refuse it: only a proxy of clients has to understand it
        assert heard.startswith(b"HTTP/1.1 4")
    since = len(here.upstream.asked)
    heard = await here.door.say(asking(method=b"GET", target=b"http://elsewhere/signed"))
    assert heard.startswith(b"HTTP/1.1 4")
    await _nothing_came_through(here, since)


async def test_a_body_that_looks_like_a_request_is_a_body(here: Here) -> None:
    for raw in (
        asking(b"Content-Length: %d" % len(HIDDEN), target=b"/open/body", body=HIDDEN),
        asking(
            CHUNKED,
            target=b"/open/body",
            body=b"%x\r\n%b\r\n" % (len(HIDDEN), HIDDEN) + LAST_CHUNK,
        ),
        asking(
            *(b"Content-Length: %d" % len(HIDDEN),),
            method=b"GET",
            target=b"/open/body",
            body=HIDDEN,
        ),
    ):
        heard = await here.door.say(raw)
        assert heard.startswith(b"HTTP/1.1 200 ")
        assert heard.count(b"HTTP/1.1 200 ") == 1
        assert here.upstream.last("/open/body").read == HIDDEN
    await _nothing_came_through(here, len(here.upstream.asked))


async def test_requests_in_a_row_are_answered_in_a_row(here: Here) -> None:
    async def name_it(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(200, exchange.target.encode())

    here.upstream.scripts |= {"/open/1": name_it, "/open/2": name_it}
    heard = await here.door.say(
        b"GET /open/1 HTTP/1.1\r\nHost: door\r\n\r\n" + asking(method=b"GET", target=b"/open/2")
    )
    assert heard.count(b"HTTP/1.1 200 ") == 2
    assert heard.index(b"\r\n\r\n/open/1") < heard.index(b"\r\n\r\n/open/2")


async def test_a_change_of_protocol_that_nobody_offered_is_not_made(here: Here) -> None:
    for headers in (
        (b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: eA=="),
    ):
        raw = asking(*headers, method=b"GET", target=b"/open/upgrade")
        heard = await here.door.say(
            raw.replace(b"Connection: close", b"Connection: close, Upgrade")
        )
        assert not heard.startswith(b"HTTP/1.1 101")


ANSWERS_READ_IN_TWO_WAYS = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nevil",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no answer at all": b"evil\r\n\r\n",
    "a header that has no end": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize(
    "raw", ANSWERS_READ_IN_TWO_WAYS.values(), ids=ANSWERS_READ_IN_TWO_WAYS.keys()
)
async def test_an_answer_that_can_be_read_in_two_ways_is_not_passed_on(
    here: Here, raw: bytes
) -> None:
    async def tell(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(raw)

    here.upstream.scripts["/open/two-ways"] = tell
    answer = await here.ask("POST", "/open/two-ways")
    assert answer.status in {502, 503}
    assert b"evil" not in answer.body
    await _nothing_came_through(here, len(here.upstream.asked))


async def test_what_an_upstream_says_unasked_is_nobodys_answer(here: Here) -> None:
    async def say_more(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        )

    here.upstream.scripts["/open/more"] = say_more
    assert (await here.ask("GET", "/open/more")).body == b"mine"
    for _ in range(5):
        assert (await here.ask("GET", "/open/next")).body == b"done"
