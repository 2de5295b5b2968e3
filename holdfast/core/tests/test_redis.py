import asyncio

import pytest
from redis.exceptions import ConnectionError as AwayError
from redis.exceptions import TimeoutError as SilentError

from holdfast.cli.servers import free_port
from holdfast.core.redis import connect, is_cancelled
from holdfast.core.settings import Settings


async def test_a_server_that_is_away_is_said_to_be_after_one_try(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}"})
    async with connect(nowhere) as redis:
        with pytest.raises(AwayError):
            await redis.ping()


async def test_a_server_that_does_not_answer_is_not_waited_for(settings: Settings) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        silent = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{port}"})
        async with connect(silent) as redis, asyncio.timeout(10):
            with pytest.raises(SilentError):
                await redis.ping()


async def test_a_task_knows_that_it_was_cancelled_even_if_that_was_swallowed() -> None:
    async def swallow() -> list[bool]:
        before = is_cancelled()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return [before, is_cancelled()]
        return []

    task = asyncio.create_task(swallow())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == [False, True]
