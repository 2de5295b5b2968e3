"""The catalog is away in the middle of a sale: orders go on by its last word, for as long as that holds.

Identity, catalog and orders are real processes, each for itself, that meet over HTTP or gRPC alone.
"""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from signal import SIGCONT, SIGSTOP
from time import monotonic

import asyncpg
import pytest

from holdfast.apps.identity.tests.api import Api
from holdfast.apps.identity.tests.conftest import make_admin
from holdfast.cli.servers import free_port
from holdfast.core.tests.serving import Answer, Client, worker
from tests.sale import BETWEEN_S, SHORTLY_S, answered, make_deal, make_editor, order

STALE_S = 5


@dataclass
class Town:
    """Where the services are, and what they were told."""

    identity: Api
    orders: Client
    port: int  # of the catalog
    wire: str
    environ: dict[str, str]

    async def open_catalog(self, stack: AsyncExitStack) -> tuple[Client, Process]:
        port, grpc_port = (0, self.port) if self.wire == "grpc" else (self.port, None)
        url, process = await stack.enter_async_context(
            worker("catalog", self.environ, port=port, grpc_port=grpc_port)
        )
        return await stack.enter_async_context(Client.at(url)), process


@pytest.fixture
def wire() -> str:
    return "http"


@pytest.fixture
async def town(database_url: str, redis_url: str, wire: str) -> AsyncIterator[Town]:
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
        "HOLDFAST_LIMITS": "off",
        "HOLDFAST_ORDERS_CATALOG_URL": f"{wire}://127.0.0.1:{(port := free_port())}",
        "HOLDFAST_ORDERS_STALE_S": str(STALE_S),
    }
    async with AsyncExitStack() as stack:
        grpc_port = free_port() if wire == "grpc" else None
        url, _ = await stack.enter_async_context(worker("identity", environ, grpc_port=grpc_port))
        environ["HOLDFAST_IDENTITY_URL"] = url
        if grpc_port:
            environ["HOLDFAST_IDENTITY_GRPC"] = f"grpc://127.0.0.1:{grpc_port}"
        identity = await stack.enter_async_context(Api.at(url))
        url, _ = await stack.enter_async_context(worker("orders", environ))
        orders = await stack.enter_async_context(Client.at(url))
        yield Town(identity, orders, port, wire, environ)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "identity"})
    yield connection
    await connection.close()


async def test_orders_go_on_by_known_prices_then_refuse_and_recover_by_themselves(
    town: Town, db: asyncpg.Connection
) -> None:
    editor = await make_editor(town.identity, await make_admin(town.identity, db))
    customer = (await town.identity.sign_up()).access
    keys = count()

    async def buy() -> Answer:
        return await order(town.orders, customer, deal_id, f"order-{next(keys)}")

    async with AsyncExitStack() as stack:
        catalog, _ = await town.open_catalog(stack)
        deal_id = await make_deal(catalog, editor, quota=1_000_000)
        asked_at = monotonic()
        assert (await answered(buy)).status == 201
    closed_at = monotonic()

    while (answer := await buy()).status == 201:
        await asyncio.sleep(BETWEEN_S)
        assert answer.data["items"][0]["unit_price_krw"] == 9_900
        assert monotonic() < closed_at + STALE_S + SHORTLY_S
    assert monotonic() > asked_at + STALE_S  # its word held for as long as it may
    assert answer.status == 503
    assert "catalog does not answer" in answer.body["detail"]
    assert int(answer.headers["Retry-After"]) >= 1

    async with AsyncExitStack() as stack:
        await town.open_catalog(stack)
        assert (await answered(buy)).status == 201


@pytest.mark.parametrize("wire", ["grpc"])
async def test_an_offer_that_is_not_known_yet_waits_for_the_catalog(
    town: Town, db: asyncpg.Connection
) -> None:
    """Whether it is killed or hangs: the connection to it is made again by itself."""
    editor = await make_editor(town.identity, await make_admin(town.identity, db))
    customer = (await town.identity.sign_up()).access

    async def until_sold(deal_id: str) -> None:
        answer = await answered(partial(order, town.orders, customer, deal_id, deal_id))
        assert answer.data["items"][0]["place"] == 1

    async with AsyncExitStack() as stack:
        catalog, process = await town.open_catalog(stack)
        known, one, two, three = [await make_deal(catalog, editor, quota=1) for _ in range(4)]
        await until_sold(known)
        process.kill()
    assert (await order(town.orders, customer, one, "early")).status == 503
    async with AsyncExitStack() as stack:
        _, process = await town.open_catalog(stack)
        await until_sold(one)
        process.send_signal(SIGSTOP)
        assert (await order(town.orders, customer, two, "early")).status == 503
        process.send_signal(SIGCONT)
        await until_sold(two)
        process.terminate()
        assert await process.wait() == 0
    async with AsyncExitStack() as stack:
        await town.open_catalog(stack)
        await until_sold(three)
