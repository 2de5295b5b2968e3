"""The broker is down in the middle of a sale: orders succeed, and what they tell arrives when it is back.

Catalog, orders and the background jobs of both are real processes. Their broker, once Valkey and
once Kafka, is killed and comes back as it was, hangs, and is killed and comes back empty. A failure
of minutes is compressed to seconds: nothing here depends on how long it lasts, because the outbox
keeps events for a week and nobody waits for more than five seconds between two tries.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from holdfast.cli.servers import Running, free_port, running, valkey
from holdfast.core.broker import connect
from holdfast.core.settings import Settings
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
    environ: Mapping[str, str]
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

    async def sent(self) -> int:
        """How many of them are in the stream as it is now; one whose acknowledgement came too late
        is there twice.
        """
        async with connect(Settings.load(self.environ)) as broker:
            entries = await broker.source("events:orders").read("", 10_000)
        told = [envelope for _, envelope in entries if envelope["type"] == b"stock.changed"]
        return len({envelope["id"] for envelope in told})

    async def expire(self) -> None:
        """One order's time is over, which the jobs notice."""
        order_id = await self.db.fetchval(
            """UPDATE orders.orders SET held_until = now()
            WHERE id = (SELECT id FROM orders.orders LIMIT 1) RETURNING id"""
        )
        status = partial(
            self.db.fetchval, "SELECT status FROM orders.orders WHERE id = $1", order_id
        )
        await until(status, "expired")

    async def applied(self) -> tuple[int, ...]:
        """How many it has applied, and how many different ones."""
        counted = "SELECT count(*), count(DISTINCT event_id) FROM catalog.inbox"
        return tuple(await self.db.fetchrow(counted) or ())


@dataclass
class Broker:
    server: Running
    memory: str  # what it comes back empty without
    environ: Mapping[str, str]

    @contextmanager
    def hanging(self) -> Iterator[None]:
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.server.pid, signal.SIGCONT)

    def forget(self) -> None:
        shutil.rmtree(self.server.server.data / self.memory)


@pytest.fixture
def redis_broker(tmp_path: Path) -> Iterator[Broker]:
    with running(valkey(tmp_path / "valkey", free_port())) as server:
        yield Broker(server, "appendonlydir", {"REDIS_URL": server.server.url})


@pytest.fixture
def kafka_broker(kafka_server: Running, valkey_url: str) -> Broker:
    environ = {"REDIS_URL": valkey_url, "HOLDFAST_EVENTS_URL": kafka_server.server.url}
    return Broker(kafka_server, "log", environ)


@pytest.fixture(params=["redis_broker", "kafka_broker"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def town(database_url: str, broker: Broker) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        issuer = stack.enter_context(issuing())
        environ = {
            "DATABASE_URL": database_url,
            **broker.environ,
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
        yield Town(catalog, orders, editor, issuer.token(), db, environ)


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
    town: Town, broker: Broker
) -> None:
    deal_id = await make_deal(town.catalog, town.editor, quota=QUOTA)

    async def everything_is_told(*, remaining: int) -> None:
        wanted = {"remaining": remaining, "held": QUOTA - remaining, "sold": 0}
        await until(partial(town.stock, deal_id), wanted)
        await until(town.waiting, 0)
        told = await town.told()
        await until(town.applied, (told, told))

    # At first orders must ask the catalog, which may be slow; later they can do without it.
    await until(partial(town.order, deal_id), 201)
    await town.sell(deal_id, 9)
    await everything_is_told(remaining=20)

    broker.server.kill()
    await town.sell(deal_id, 10)
    await asyncio.sleep(DOWN_S)
    assert await town.waiting() > 0
    assert (await town.stock(deal_id))["remaining"] == 20  # as it was told last
    broker.server.restart()
    await everything_is_told(remaining=10)

    with broker.hanging():
        await town.expire()
    await everything_is_told(remaining=11)

    broker.server.kill()
    await town.sell(deal_id, 11)
    broker.forget()
    await asyncio.sleep(DOWN_S)
    broker.server.restart()
    await everything_is_told(remaining=0)
    assert await town.sent() == await town.told()  # all of it came again, and most was known
    assert await town.order(deal_id) == 409
