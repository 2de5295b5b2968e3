"""Redis: one client for a worker, quick to say that the server is away.

Nothing that matters is kept in Redis alone, so a call that fails is not tried again here: its
caller knows what to do without the answer, and must not be kept waiting for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from holdfast.core.settings import Settings

TIMEOUT_S = 0.5


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Redis]:
    client = Redis.from_url(
        settings.redis_url,
        max_connections=settings.redis_pool,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    try:
        yield client
    finally:
        await client.aclose()


def is_cancelled() -> bool:
    """Whether this task was told to end. A loop around calls to Redis must ask: where Python is
    older than 3.12, the client's `asyncio.wait_for` swallows a cancellation now and then.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
