"""The broker is down in the middle of a sale: orders succeed, and what they tell arrives when it is back.

Catalog, orders and the background jobs of both are real processes with a Valkey of their own, which
is killed, and comes back once as it was and once empty. A failure of minutes is compressed to
seconds: nothing here depends on how long it lasts, because the outbox keeps events for a week and
nobody waits for more than five seconds between two tries.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from holdfast.cli.servers import Running, free_port, running, valkey
from holdfast.core.tests.issuer import issuing
from holdfast.core.tests.serving import Client, worker
from tests.sale import make_deal, order

SHORTLY_S = 60
DOWN_S = 2
QUOTA = 30


@dataclass
class Town:
    catalog: Client
    orders: Client
    editor: str
    customer: str
    db: asyncpg.Connection
    keys: Iterator[str] = field(default_factory=lambda: map(str, count()))

    async def order(self, deal_id: str) -> int:
        return (await order(self.orders, self.customer, deal_id, next(self.keys))).status

    async def sell(self, deal_id: str, units: int) -> None:
        """Everyone gets their order at once, whatever is down."""
        answers = await asyncio.gather(*(self.order(deal_id) for _ in range(units)))
        assert answers == [201] * units

    async def stock(self, deal_id: str) -> Any:
        return (await self.catalog.call("GET", f"/api/v1/offers/{deal_id}/stock")).data

    async def waiting(self) -> int:
        """How many events were not relayed."""
        return int(
            await self.db.fetchval("SELECT count(*) FROM orders.outbox WHERE relayed_at IS NULL")
        )

    async def told(self) -> int:
        """How many events the catalog is to apply."""
        return int(
            await self.db.fetchval(
                "SELECT count(*) FROM orders.outbox WHERE type = 'stock.changed'"
            )
        )

    async def applied(self) -> tuple[int, ...]:
        """How many it has applied, and how many different ones."""
        counted = "SELECT count(*), count(DISTINCT event_id) FROM catalog.inbox"
        return tuple(await self.db.fetchrow(counted) or ())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Running]:
    with running(valkey(tmp_path / "valkey", free_port())) as server:
        yield server


@pytest.fixture
async def town(database_url: str, broker: Running) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        issuer = stack.enter_context(issuing())
        environ = {
            "DATABASE_URL": database_url,
            "REDIS_URL": broker.server.url,
            "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
            "HOLDFAST_ORIGIN": issuer.url,
            "HOLDFAST_LIMITS": "off",
        }
        url, _ = await stack.enter_async_context(worker("catalog", environ))
        environ["HOLDFAST_ORDERS_CATALOG_URL"] = url
        catalog = await stack.enter_async_context(Client.at(url))
        url, _ = await stack.enter_async_context(worker("orders", environ))
        orders = await stack.enter_async_context(Client.at(url))
        for app in ("orders", "catalog", "catalog"):
            await stack.enter_async_context(jobs(app, environ))
        db = await asyncpg.connect(database_url)
        stack.push_async_callback(db.close)
        editor = issuer.token(None, "catalog:write")
        yield Town(catalog, orders, editor, issuer.token(), db)


@asynccontextmanager
async def jobs(app: str, environ: Mapping[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "jobs", app), env={**os.environ, **environ}
    )
    try:
        yield
    finally:
        process.terminate()
        assert await process.wait() == 0


async def until(ask: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    async with asyncio.timeout(SHORTLY_S):
        while await ask() != wanted:
            await asyncio.sleep(0.05)


async def test_a_sale_goes_on_without_the_broker_and_all_of_it_is_told_once(
    town: Town, broker: Running
) -> None:
    deal_id = await make_deal(town.catalog, town.editor, quota=QUOTA)

    async def everything_is_told(*, remaining: int) -> None:
        wanted = {"remaining": remaining, "held": QUOTA - remaining, "sold": 0}
        await until(partial(town.stock, deal_id), wanted)
        await until(town.waiting, 0)
        told = await town.told()
        await until(town.applied, (told, told))

    await town.sell(deal_id, 10)
    await everything_is_told(remaining=20)

    broker.kill()
    await town.sell(deal_id, 10)
    await asyncio.sleep(DOWN_S)
    assert await town.waiting() > 0
    assert (await town.stock(deal_id))["remaining"] == 20  # as it was told last
    broker.restart()
    await everything_is_told(remaining=10)

    broker.kill()
    await town.sell(deal_id, 10)
    shutil.rmtree(broker.server.data / "appendonlydir")
    await asyncio.sleep(DOWN_S)
    broker.restart()
    await everything_is_told(remaining=0)
    assert await sent(broker) == await town.told()  # all of it came again, and most was known
    assert await town.order(deal_id) == 409


async def sent(broker: Running) -> int:
    """How many events of stock are in the stream as it is now."""
    async with Redis.from_url(broker.server.url) as redis:
        entries: Any = await redis.xrange("events:orders")
    return sum(fields[b"type"] == b"stock.changed" for _, fields in entries)
