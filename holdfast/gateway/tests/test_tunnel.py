import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from holdfast.core.sockets import LARGEST_MESSAGE
from holdfast.core.tests.patience import PATIENCE_S
from holdfast.gateway import tunnel
from holdfast.gateway.tests.upstreams import (
    CLIENT,
    REQUEST_ID,
    Asked,
    Upstream,
    before,
    get,
    status_of,
    talk,
)

Handle = Callable[[ServerConnection], Awaitable[None]]


async def echo(server: ServerConnection) -> None:
    async for said in server:
        await server.send(said)


@asynccontextmanager
async def tunnelled(
    handle: Handle, *, terms: Mapping[str, Any] = {}, **options: Any
) -> AsyncIterator[str]:
    """The address of a door before web sockets that are handled so."""
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with before(f"http://127.0.0.1:{port}", stream=True, **terms) as url:
            yield url.replace("http", "ws")


async def ending(server_or_client: Any) -> tuple[int, str]:
    """How the other side ended it."""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            while True:
                await server_or_client.recv()
    return server_or_client.close_code, server_or_client.close_reason


async def test_messages_go_both_ways_as_they_are() -> None:
    said: list[str | bytes] = ["text", b"bytes", "글자", b"", "", "x" * LARGEST_MESSAGE]
    async with tunnelled(echo) as url, connect(url, proxy=None) as client:
        for message in said:
            await client.send(message)
            assert await client.recv() == message


async def test_the_handshake_goes_on_and_the_upstream_chooses_the_subprotocol() -> None:
    seen: list[Request] = []

    async def keep(server: ServerConnection) -> None:
        assert server.request
        seen.append(server.request)
        await server.wait_closed()

    def answer(_: ServerConnection, __: Request, response: Response) -> None:
        response.headers["Set-Cookie"] = "seat=7"

    async with (
        tunnelled(keep, subprotocols=[Subprotocol("b")], process_response=answer) as url,
        connect(
            f"{url}/tables/7?seat=1",
            origin="https://shop.example",  # type: ignore[arg-type]  # a str by another name
            subprotocols=[Subprotocol("a"), Subprotocol("b")],
            additional_headers={"Cookie": "a=1", "X-Forwarded-For": "1.2.3.4"},
            proxy=None,
        ) as client,
    ):
        assert client.subprotocol == "b"
        assert client.response
        assert client.response.headers["Set-Cookie"] == "seat=7"
    (request,) = seen
    assert request.path == "/tables/7?seat=1"
    told = request.headers
    assert told["Host"] == url.removeprefix("ws://")
    assert told["Origin"] == "https://shop.example"
    assert told["Cookie"] == "a=1"
    assert told.get_all("X-Forwarded-For") == [CLIENT]
    assert told["X-Forwarded-Proto"] == "http"
    assert told["X-Request-Id"] == REQUEST_ID


async def test_a_refusal_is_the_upstreams() -> None:
    def refuse(server: ServerConnection, _: Request) -> Response:
        response = server.respond(HTTPStatus.FORBIDDEN, "Not at this table.\n")
        response.headers["X-Why"] = "full"
        return response

    async with tunnelled(echo, process_request=refuse) as url:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(url, proxy=None)
    told = refusal.value.response
    assert told.status_code == 403
    assert told.body == b"Not at this table.\n"
    assert told.headers["X-Why"] == "full"


@pytest.mark.parametrize(
    ("terms", "status"), [({}, 502), ({"begin_s": 0.3}, 504)], ids=["dead", "silent"]
)
async def test_an_upstream_that_does_not_answer_is_said_so(
    terms: dict[str, Any], status: int
) -> None:
    async def answer(asked: Asked) -> None:
        if terms:
            await asked.left()
        asked.hang_up()

    async with Upstream.of(answer) as upstream, before(upstream.url, **terms) as url:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(url.replace("http", "ws"), proxy=None)
    assert refusal.value.response.status_code == status
    assert b"/problems/" in (refusal.value.response.body or b"")


async def test_a_redirect_is_not_followed() -> None:
    async def answer(asked: Asked) -> None:
        await asked.answer(b"", "302 Found", b"location: ws://127.0.0.1:1/")

    handshake = get(
        "/",
        *("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    async with Upstream.of(answer) as upstream, before(upstream.url) as url:
        told = await talk(url, handshake)
    assert status_of(told) == 302
    assert b"location: ws://127.0.0.1:1/" in told.lower()
    assert len(upstream.asked) == 1


async def test_the_client_hears_how_the_upstream_closed() -> None:
    async def close(server: ServerConnection) -> None:
        await server.send("first this")
        await server.close(4001, "You are out.")

    async with tunnelled(close) as url, connect(url, proxy=None) as client:
        assert await client.recv() == "first this"
        assert await ending(client) == (4001, "You are out.")


async def test_the_upstream_hears_how_the_client_closed() -> None:
    heard: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def listen(server: ServerConnection) -> None:
        heard.put_nowait(await ending(server))

    async with tunnelled(listen) as url:
        async with connect(url, proxy=None) as client:
            await client.close(4002, "Good night.")
        assert await asyncio.wait_for(heard.get(), PATIENCE_S) == (4002, "Good night.")
        client = await connect(url, proxy=None)
        client.transport.abort()
        assert (await asyncio.wait_for(heard.get(), PATIENCE_S))[0] in (1000, 1001)


async def test_an_upstream_that_dies_is_a_bad_gateway() -> None:
    async def die(server: ServerConnection) -> None:
        await server.recv()
        server.transport.abort()

    async with tunnelled(die) as url, connect(url, proxy=None) as client:
        await client.send("hello")
        assert (await ending(client))[0] == 1014


async def test_a_message_has_an_end_in_either_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def listen(server: ServerConnection) -> None:
        if server.request and server.request.path == "/large":
            await server.send("x" * 2_000)
        heard.put_nowait(await ending(server))

    monkeypatch.setattr(tunnel, "LARGEST_MESSAGE", 1_000)
    async with tunnelled(listen) as url:
        async with connect(url, proxy=None) as client:
            await client.send("x" * (LARGEST_MESSAGE + 1))
            assert (await ending(client))[0] == 1009
        assert (await asyncio.wait_for(heard.get(), PATIENCE_S))[0] == 1009
        async with connect(f"{url}/large", proxy=None) as client:
            assert (await ending(client))[0] == 1009
        assert (await asyncio.wait_for(heard.get(), PATIENCE_S))[0] == 1009


async def test_a_pair_that_says_nothing_is_parted() -> None:
    heard: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def listen(server: ServerConnection) -> None:
        heard.put_nowait(await ending(server))

    async with (
        tunnelled(listen, terms={"timeout_s": 0.3}) as url,
        connect(url, proxy=None) as client,
    ):
        assert await ending(client) == (1001, "Nothing was said for too long.")
        assert (await asyncio.wait_for(heard.get(), PATIENCE_S))[0] == 1001


async def test_nobody_buffers_what_the_client_does_not_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tunnel, "CLOSE_WITHIN_S", 0.2)
    sent = 0

    async def tell(server: ServerConnection) -> None:
        nonlocal sent
        with suppress(ConnectionClosed):
            while True:
                await server.send(b"x" * 500_000)
                sent += 500_000

    async with tunnelled(tell) as url:
        client = await connect(url, proxy=None, max_queue=1)
        known = -1
        while known != sent or not sent:
            known = sent
            await asyncio.sleep(0.1)
        client.transport.abort()
    assert sent < 32_000_000, "what the sockets hold"
