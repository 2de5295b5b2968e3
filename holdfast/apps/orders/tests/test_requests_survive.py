"""Whoever was told that a request is stored has it decided about, once, whatever is killed meanwhile.

Workers and jobs are processes; the workers that no test kills serve all tests of this file.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from holdfast.apps.orders.tests.house import House, shop_at, standing
from holdfast.apps.orders.tests.shop import Shop
from holdfast.apps.orders.tests.test_requests import ask, listening, next_event, show
from holdfast.cli.servers import Running, free_port, postgres, running
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import Client, worker

SOON_S = 60
BUYERS, STOCK = 100, 10
Process = asyncio.subprocess.Process


@asynccontextmanager
async def jobs(environ: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "jobs", "orders"),
        env={**os.environ, **environ},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(shop: Shop, condition: str, *args: object) -> None:
    async with asyncio.timeout(SOON_S):
        while not await shop.db.fetchval(condition, *args):
            await asyncio.sleep(0.01)


async def until_decided(shop: Shop, request_id: str, token: str) -> Any:
    async with asyncio.timeout(SOON_S):
        while (request := await show(shop, request_id, token))["state"] == "waiting":
            await asyncio.sleep(0.01)
    return request


@pytest.fixture(scope="module")
def house(postgres_url: str, template_url: str, valkey_url: str, issuer: Issuer) -> Iterator[House]:
    with standing(
        *("requests", 2),
        postgres_url=postgres_url,
        template_url=template_url,
        redis_url=valkey_url,
        issuer=issuer,
    ) as house:
        yield house


@pytest.fixture
def environ(house: House) -> dict[str, str]:
    return dict(house.environ)


@pytest.fixture
async def workers(house: House) -> AsyncIterator[list[Client]]:
    async with house.clients() as clients:
        yield clients


@pytest.fixture
async def shop(
    environ: dict[str, str], workers: list[Client], issuer: Issuer
) -> AsyncIterator[Shop]:
    async with shop_at(environ, workers[0], issuer) as opened:
        yield opened


DECIDED = """
SELECT count(*) = $2 FROM order_requests
WHERE state <> 'waiting' AND items @> jsonb_build_array(jsonb_build_array($1::text))
"""
SERVED = """
SELECT place, state FROM order_requests LEFT JOIN order_items USING (order_id)
WHERE items @> jsonb_build_array(jsonb_build_array($1::text)) ORDER BY order_requests.id
"""


async def test_request_order_two_workers_two_job_processes_ten_units(
    shop: Shop, workers: list[Client], environ: dict[str, str]
) -> None:
    """The first ten of a hundred have places 1 to 10, and whoever listens is told."""
    offer, token = await shop.offer(stock=STOCK), shop.issuer.token()
    first = await ask(shop, offer, token=token)
    async with listening(shop, first.data["id"], token) as stream:
        assert (await next_event(stream))["state"] == "waiting"
        async with jobs(environ), jobs(environ):
            for _ in range(3):
                asking = (ask(shop, offer, api=api) for api in workers * (BUYERS // 2))
                assert {answer.status for answer in await asyncio.gather(*asking)} == {202}
            await until(shop, DECIDED, str(offer), 1 + 3 * BUYERS)
        told = await next_event(stream)
        assert told == await show(shop, first.data["id"], token)
    rows = [(row["place"], row["state"]) for row in await shop.db.fetch(SERVED, str(offer))]
    assert rows[:STOCK] == [(place, "placed") for place in range(1, STOCK + 1)]
    assert set(rows[STOCK:]) == {(None, "refused")}
    assert (await shop.ledger(offer))["held"] == STOCK


HOLD_MARKS = """
CREATE FUNCTION hold_mark() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END';
CREATE TRIGGER hold_mark BEFORE UPDATE ON order_requests FOR EACH ROW EXECUTE FUNCTION hold_mark()
"""
RELEASE_MARKS = "DROP TRIGGER hold_mark ON order_requests; DROP FUNCTION hold_mark"
MARKS_WAIT = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = 'advisory' AND query ILIKE '%UPDATE order_req%'
"""
NOBODY_WAITS = MARKS_WAIT.replace("> 0", "= 0")


async def test_request_order_when_the_job_is_killed_between_placing_and_marking(
    shop: Shop, environ: dict[str, str]
) -> None:
    offer, token = await shop.offer(), shop.issuer.token()
    await shop.db.execute(HOLD_MARKS)
    await shop.db.execute("SELECT pg_advisory_lock(1)")
    asked = await ask(shop, offer, token=token, key="once")
    async with jobs(environ) as doomed:
        await until(shop, MARKS_WAIT)
        assert (await shop.ledger(offer))["held"] == 1
        doomed.kill()
    await shop.db.execute("SELECT pg_advisory_unlock(1)")
    await until(shop, NOBODY_WAITS)
    await shop.db.execute(RELEASE_MARKS)
    assert (await show(shop, asked.data["id"], token))["state"] == "waiting"
    async with jobs(environ):
        decided = await until_decided(shop, asked.data["id"], token)
    assert decided["state"] == "placed"
    orders = await shop.db.fetch("SELECT id FROM orders WHERE key = 'once'")
    assert [str(row["id"]) for row in orders] == [decided["order_id"]]
    assert (await shop.ledger(offer))["held"] == 1


async def test_request_order_at_a_worker_that_is_killed_or_told_to_end(
    shop: Shop, environ: dict[str, str]
) -> None:
    """What it stored is decided about; whoever listens there is let go politely, and asks again."""
    offer, token = await shop.offer(stock=2, per_customer=None), shop.issuer.token()
    async with worker("orders", environ) as (url, process), Client.at(url) as doomed:
        first = await ask(shop, offer, token=token, api=doomed)
        process.kill()
        assert first.status == 202
    async with worker("orders", environ) as (url, process), Client.at(url) as ending:
        there = Shop(ending, shop.db, shop.issuer)
        second = await ask(there, offer, token=token)
        async with listening(there, second.data["id"], token) as stream:
            assert (await next_event(stream))["state"] == "waiting"
            process.terminate()
            assert await next_event(stream) is None
        assert await process.wait() == 0
    async with jobs(environ):
        for asked in (first, second):
            assert (await until_decided(shop, asked.data["id"], token))["state"] == "placed"


@pytest.fixture
async def own_postgres(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
    """A PostgreSQL that a test may kill, with every safety on."""
    with running(postgres(tmp_path / "postgres", free_port())) as server:
        environ["DATABASE_URL"] = server.server.url
        await migrate(server.server.url, find("orders"))
        yield server


async def test_request_order_when_postgresql_is_killed_in_the_middle(
    environ: dict[str, str], own_postgres: Running, issuer: Issuer
) -> None:
    """Every 202 is decided about in the end: the first have what there is, each of them once."""
    stored: set[str] = set()
    told: set[int] = set()
    token, keys = issuer.token(), count()

    async def ask_for_ever(shop: Shop, offer: UUID) -> None:
        while True:
            with suppress(aiohttp.ClientError):
                answer = await ask(shop, offer, token=token, key=str(next(keys)))
                told.add(answer.status)
                if answer.status == 202:
                    stored.add(answer.data["id"])

    async with worker("orders", environ) as (url, _), Client.at(url) as api, jobs(environ):
        async with shop_at(environ, api, issuer) as before:
            offer = await before.offer(stock=300, per_customer=None)
            asking = [asyncio.create_task(ask_for_ever(before, offer)) for _ in range(10)]
            await until(before, "SELECT count(*) > 100 FROM orders")
        own_postgres.kill()
        before_the_end = len(stored)
        own_postgres.restart()
        async with asyncio.timeout(SOON_S):
            while len(stored) < max(before_the_end, 300) + 100:
                await asyncio.sleep(0.01)
        for one in asking:
            one.cancel()
        await asyncio.wait(asking)
        async with shop_at(environ, api, issuer) as shop:
            await until(shop, "SELECT count(*) = 0 FROM order_requests WHERE state = 'waiting'")
            rows = await shop.db.fetch("SELECT id::text, state FROM order_requests ORDER BY id")
            assert stored <= {row["id"] for row in rows}
            assert [row["state"] for row in rows[:300]] == ["placed"] * 300
            assert {row["state"] for row in rows[300:]} == {"refused"}
            assert (await shop.ledger(offer))["held"] == 300
    assert told <= {202, 503}
