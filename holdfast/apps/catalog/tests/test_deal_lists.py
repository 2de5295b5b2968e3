"""Deals that open and close by themselves, in lists that were made before."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from holdfast.apps.catalog import clock
from holdfast.apps.catalog.lists.cache import FIRST_DEALS, MOST_MOMENTS
from holdfast.apps.catalog.lists.schemas import DealsQuery
from holdfast.apps.catalog.options import Options
from holdfast.apps.catalog.resources import Catalog
from holdfast.apps.catalog.tests.counting import asked_of_tables
from holdfast.apps.catalog.tests.desk import DEALS, PRODUCTS, Desk
from holdfast.cli.servers import Running, free_port, postgres, running
from holdfast.core.epochs.lease import clock as seconds
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate
from holdfast.core.tests.serving import Client

UPCOMING = f"{DEALS}/upcoming"
DEALS_OF_ONE_PRODUCT = """
    WITH product AS (
      INSERT INTO products (name, category, price_krw, stock)
      VALUES ('Blue mug', 'kitchen', 12900, 1) RETURNING id
    )
    INSERT INTO deals (product_id, price_krw, opens_at, closes_at, quota)
    SELECT product.id, n, now() + make_interval(secs => $1 + n * $2::float8),
      now() + make_interval(secs => $3 + n * $4::float8), 1
    FROM product, generate_series(1, $5::integer) n"""


async def prices(api: Client, path: str) -> list[int]:
    answer = await api.call("GET", path)
    assert answer.status == 200, answer.body
    return [deal["price_krw"] for deal in answer.data]


async def pages(api: Client, path: str) -> list[int]:
    seen: list[int] = []
    cursor = ""
    while True:
        page = await api.call("GET", f"{path}?limit=2{cursor}")
        seen += [deal["price_krw"] for deal in page.data]
        if page.body["next_cursor"] is None:
            return seen
        cursor = f"&cursor={page.body['next_cursor']}"


async def test_list_deals_shows_those_open_in_the_order_in_which_they_close(
    desk: Desk, api: Client
) -> None:
    product = await desk.product()
    # At first: nobody is told that it ends, but of each change after that.
    await desk.end((await desk.deal(product["id"], price_krw=7))["id"])
    for price_krw, closes_in_s in ((3, 300), (1, 100), (4, 300), (2, 200), (5, 300)):
        await desk.deal(product["id"], price_krw=price_krw, closes_in_s=closes_in_s)
    await desk.deal(product["id"], price_krw=6, opens_in_s=50)
    assert await prices(api, DEALS) == await pages(api, DEALS) == [1, 2, 3, 4, 5]
    [first, *_] = (await api.call("GET", DEALS)).data
    assert first == (await api.call("GET", f"{DEALS}/{first['id']}")).data


async def test_list_upcoming_deals_shows_those_to_open_in_the_order_in_which_they_do(
    desk: Desk, api: Client
) -> None:
    product = await desk.product()
    for price_krw, opens_in_s in ((3, 300), (1, 100), (2, 200)):
        await desk.deal(product["id"], price_krw=price_krw, opens_in_s=opens_in_s)
    await desk.deal(product["id"], price_krw=4)
    assert await prices(api, UPCOMING) == await pages(api, UPCOMING) == [1, 2, 3]


@pytest.mark.parametrize(
    "query", ["limit=0", "page=2", "cursor=AAAA", "state=open", "limit=1&limit=1"]
)
@pytest.mark.parametrize("path", [DEALS, UPCOMING])
async def test_list_deals_refuses_odd_questions(api: Client, path: str, query: str) -> None:
    assert (await api.call("GET", f"{path}?{query}")).status == 422


async def test_list_deals_takes_no_cursor_of_the_other_list(desk: Desk, api: Client) -> None:
    product = await desk.product()
    await desk.deal(product["id"])
    await desk.deal(product["id"], opens_in_s=50)
    for path, other in ((DEALS, UPCOMING), (UPCOMING, DEALS)):
        cursor = (await api.call("GET", f"{path}?limit=1")).body["next_cursor"]
        assert (await api.call("GET", f"{path}?limit=1&cursor={cursor}")).status == 200
        assert (await api.call("GET", f"{other}?limit=1&cursor={cursor}")).status == 422


async def test_list_deals_changes_on_every_worker_with_the_answer_to_the_change(
    desk: Desk, api: Client, other: Client
) -> None:
    product = await desk.product()
    for price_krw in range(1, 11):
        deal = await desk.deal(product["id"], price_krw=price_krw)
        assert await prices(other, DEALS) == await prices(api, DEALS) == [price_krw]
        await desk.ask("PATCH", f"{PRODUCTS}/{product['id']}", {"name": f"Mug {price_krw}"})
        [shown] = (await other.call("GET", DEALS)).data
        assert shown["name"] == f"Mug {price_krw}"
        await desk.ask("DELETE", f"{DEALS}/{deal['id']}")
        assert await prices(other, DEALS) == await prices(api, DEALS) == []


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker's machine is five seconds ahead of everybody else."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 5)
    yield
    monkeypatch.undo()


@pytest.fixture
async def staggered(
    db: asyncpg.Connection, wrong_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a worker starts: three deals that open one after the other, and close so later."""
    monkeypatch.setattr(clock, "ASKED_EVERY_S", 3600)
    await db.execute(DEALS_OF_ONE_PRODUCT, 12.0, 8.0, 36.0, 8.0, 3)


async def test_list_deals_opens_and_closes_by_the_databases_clock_and_reads_nothing_then(
    staggered: None, api: Client, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the moments: the worker is told that so many seconds have gone by."""
    ahead = timedelta()
    monkeypatch.setattr(clock, "clock", lambda: seconds() + ahead.total_seconds())

    async def at(moment: datetime) -> tuple[list[int], list[int]]:
        nonlocal ahead
        ahead = moment - await db.fetchval("SELECT clock_timestamp()")
        return await prices(api, DEALS), await prices(api, UPCOMING)

    deals = await db.fetch("SELECT opens_at, closes_at FROM deals ORDER BY id")
    changes = [deal[at] for at in ("opens_at", "closes_at") for deal in deals]
    before = await asked_of_tables(db)
    between = timedelta(seconds=4)  # half of the time from one to the next
    assert [await at(moment + between) for moment in (changes[0] - 2 * between, *changes)] == [
        ([], [1, 2, 3]),
        ([1], [2, 3]),
        ([1, 2], [3]),
        ([1, 2, 3], []),
        ([2, 3], []),
        ([3], []),
        ([], []),
    ]
    assert await asked_of_tables(db) == before


async def test_list_deals_is_made_again_before_anybody_asks_once_a_deal_has_changed(
    desk: Desk, here: Catalog
) -> None:
    product = await desk.product()
    await desk.deal(product["id"], opens_in_s=600)
    while not all(here.lists.deals.peek(page) for page in FIRST_DEALS):
        await asyncio.sleep(0.02)
    misses = here.lists.deals.misses
    listings = [await here.lists.show_deals(page) for page in FIRST_DEALS]
    assert [len(json.loads(listing.plain.body)["data"]) for listing in listings] == [0, 1]
    assert here.lists.deals.misses == misses


async def test_list_deals_that_change_often_are_made_less_far_ahead(
    db: asyncpg.Connection, here: Catalog
) -> None:
    await db.execute(DEALS_OF_ONE_PRODUCT, 10.0, 0.25, 1000.0, 0.0, MOST_MOMENTS + 8)
    rows = await db.fetch("SELECT opens_at FROM deals ORDER BY opens_at")
    opens = [row["opens_at"].timestamp() for row in rows]
    asked = DealsQuery(limit=100).asked("open")
    timeline = await here.lists.deals.get(asked)
    assert timeline.until == opens[MOST_MOMENTS - 1]
    assert timeline.moments[1:] == opens[: MOST_MOMENTS - 1]
    sizes = [len(listing.plain.body) for listing in timeline.listings]
    assert all(smaller < larger for smaller, larger in pairwise(sizes))
    assert timeline.at(0) is timeline.listings[0]
    assert timeline.at(opens[3] - 0.001) is timeline.listings[3]
    assert timeline.at(opens[3]) is timeline.listings[4]


async def test_the_clock_is_the_databases(
    wrong_clock: None, here: Catalog, db: asyncpg.Connection
) -> None:
    """To some milliseconds, if it answered so quickly when it was asked."""

    async def is_told() -> bool:
        before: float = (await db.fetchval("SELECT clock_timestamp()")).timestamp()
        told = here.clock.now()
        after: float = (await db.fetchval("SELECT clock_timestamp()")).timestamp()
        return before - 0.05 < told < after + 0.05

    async with asyncio.timeout(30):
        while not await is_told():
            await here.clock.compare()


async def took_s(work: Callable[[], Awaitable[object]]) -> float:
    began = time.monotonic()
    await work()
    return time.monotonic() - began


class TestWithoutPostgresql:
    @pytest.fixture
    async def own_postgres(self, environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
        """A PostgreSQL that a test may kill."""
        with running(postgres(tmp_path, free_port(), {"fsync": "off"})) as server:
            environ["DATABASE_URL"] = server.server.url
            await migrate(server.server.url, find("catalog"))
            yield server

    @pytest.fixture
    def options(self) -> Options:
        return Options(list_ttl_s=8)

    async def test_list_deals_goes_on_from_memory_until_it_is_too_old(
        self, own_postgres: Running, api: Client
    ) -> None:
        async def statuses() -> list[int]:
            asked: list[Any] = [api.call("GET", path) for path in (PRODUCTS, DEALS, UPCOMING)]
            return [answer.status for answer in await asyncio.gather(*asked)]

        assert await statuses() == [200, 200, 200]
        made_at = time.monotonic()
        own_postgres.kill()
        assert await statuses() == [200, 200, 200]
        assert (await api.call("GET", f"{PRODUCTS}?limit=7")).status == 503  # not in memory
        asked_at = made_at
        while await statuses() == [200, 200, 200]:
            assert asked_at - made_at < 8
            await asyncio.sleep(0.2)
            asked_at = time.monotonic()
        async with asyncio.timeout(30):
            while set(await statuses()) != {503}:
                await asyncio.sleep(0.2)
        # Nobody waits for a lease that cannot be had: that would take two seconds each time.
        assert min([await took_s(statuses) for _ in range(3)]) < 1
        own_postgres.restart()
        async with asyncio.timeout(30):
            while await statuses() != [200, 200, 200]:
                await asyncio.sleep(0.1)
