import logging

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from holdfast.core.tests.serving import served


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket", "the server goes on without a lifespan"
    await receive()
    if scope["path"] == "/full":
        await send({"type": "websocket.http.response.start", "status": 503})
        await send({"type": "websocket.http.response.body", "body": b"Come again."})
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def test_no_address_is_written_down_and_a_refusal_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with served(app) as url:
        at = url.replace("http", "ws")
        async with connect(f"{at}/?key=s3cr3t", proxy=None) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"{at}/full?key=s3cr3t", proxy=None)
    assert refusal.value.response.status_code == 503
    assert refusal.value.response.body == b"Come again."
    assert "s3cr3t" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
