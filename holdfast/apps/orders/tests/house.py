"""Orders' workers as processes on a database of their own, for tests that kill and pause."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg

from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import Client, worker


@dataclass(frozen=True)
class House:
    """What its workers were started with, and where they answer."""

    environ: dict[str, str]
    urls: list[str]

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[list[Client]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(Client.at(url)) for url in self.urls]


@contextmanager
def standing(
    name: str, workers: int, *, postgres_url: str, template_url: str, redis_url: str, issuer: Issuer
) -> Iterator[House]:
    """For many tests, each of which has a loop of its own."""
    environ = {
        "DATABASE_URL": postgres_url.removesuffix("postgres") + name,
        "REDIS_URL": redis_url,
        "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
        "HOLDFAST_ORIGIN": issuer.url,
        "HOLDFAST_LIMITS": "off",
        "HOLDFAST_DB_POOL_MIN": "1",
    }

    async def start(stack: AsyncExitStack) -> House:
        server = await asyncpg.connect(postgres_url)
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {template_url.rsplit('/', 1)[1]}")
        await server.close()
        return House(environ, await start_workers(stack, environ, workers))

    with asyncio.Runner() as loop:
        stack = AsyncExitStack()
        yield loop.run(start(stack))
        loop.run(stack.aclose())


async def start_workers(
    stack: AsyncExitStack, environ: Mapping[str, str], number: int
) -> list[str]:
    starting = (stack.enter_async_context(worker("orders", environ)) for _ in range(number))
    return [url for url, _ in await asyncio.gather(*starting)]


@asynccontextmanager
async def shop_at(environ: Mapping[str, str], api: Client, issuer: Issuer) -> AsyncIterator[Shop]:
    db = await asyncpg.connect(environ["DATABASE_URL"], server_settings={"search_path": "orders"})
    try:
        yield Shop(api, db, issuer)
    finally:
        await db.close()
