"""A sale survives whatever happens around it: crowds, crashes, pauses, wrong clocks, lost answers.

The workers are processes; those that no test kills serve all tests of this file.
"""

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from math import inf
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest

from holdfast.apps.orders.placing.queries import lock_offers
from holdfast.apps.orders.tests.house import House, shop_at, standing
from holdfast.apps.orders.tests.shop import Shop, patiently
from holdfast.cli.servers import Running, free_port, postgres, running, valkey
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import Answer, Client, worker

WORKERS = 4
BUYERS, STOCK = 100, 10


@pytest.fixture(scope="module")
def house(postgres_url: str, template_url: str, valkey_url: str, issuer: Issuer) -> Iterator[House]:
    with standing(
        *("sale", WORKERS),
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


@asynccontextmanager
async def one_more(environ: Mapping[str, str]) -> AsyncIterator[tuple[Client, "Process"]]:
    """A worker of a test's own, to be treated badly."""
    async with worker("orders", environ) as (url, process), Client.at(url) as api:
        try:
            yield api, process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)  # a stopped one would not hear its end


Process = asyncio.subprocess.Process


@dataclass
class Crowd:
    """Customers, and what each was told; None when no answer came."""

    shop: Shop
    offer: UUID
    told: dict[tuple[str, str], Answer | None] = field(default_factory=dict)

    async def buy(
        self, api: Client, name: tuple[str, str] | None = None, *, patient: bool = False
    ) -> None:
        token, key = name or (self.shop.issuer.token(), str(uuid4()))
        self.told[token, key] = None
        ask = partial(self.shop.buy, self.offer, token=token, key=key, api=api)
        with suppress(aiohttp.ClientError):
            self.told[token, key] = await (patiently(ask) if patient else ask())

    async def buy_for_ever(self, workers: Sequence[Client]) -> None:
        for api in cycle(workers):
            await self.buy(api)

    async def insist(self, workers: Sequence[Client]) -> None:
        """Whoever has no answer asks again under the same key, until there is one."""
        for api in cycle(workers):
            unanswered = [
                name for name, told in self.told.items() if told is None or told.status == 503
            ]
            if not unanswered:
                return
            await asyncio.gather(*(self.buy(api, name) for name in unanswered))

    def won(self) -> list[Answer]:
        return [answer for answer in self.told.values() if answer and answer.status == 201]

    async def agrees_with_the_tables(self) -> bool:
        """Each 201 is one order, each order was told to somebody, and the stock adds up."""
        rows = await self.shop.db.fetch(
            """SELECT key, orders.id, place FROM orders JOIN order_items ON order_id = orders.id
               WHERE offer_id = $1 ORDER BY place""",
            self.offer,
        )
        stored = {(row["key"], str(row["id"]), row["place"]) for row in rows}
        told = {
            (data["key"], data["id"], data["items"][0]["place"])
            for data in (answer.data for answer in self.won())
        }
        assert [row["place"] for row in rows] == list(range(1, len(rows) + 1))
        assert (await self.shop.ledger(self.offer))["held"] == len(rows)
        return stored == told


async def rush(crowd: Crowd, workers: Sequence[Client], buyers: int = BUYERS) -> list[int]:
    """All at once, spread over the workers; what they were told, in numbers."""
    asking = (crowd.buy(api, patient=True) for api in islice(cycle(workers), buyers))
    await asyncio.gather(*asking)
    return sorted(answer.status if answer else 0 for answer in crowd.told.values())


async def test_place_order_a_hundred_buyers_ten_units_four_workers(
    shop: Shop, workers: list[Client]
) -> None:
    for _ in range(5):
        crowd = Crowd(shop, await shop.offer(stock=STOCK))
        assert await rush(crowd, workers) == [201] * STOCK + [409] * (BUYERS - STOCK)
        assert await crowd.agrees_with_the_tables()


async def test_place_order_one_key_at_every_worker_at_once(
    shop: Shop, workers: list[Client]
) -> None:
    one, two = await shop.offer(per_customer=None), await shop.offer(per_customer=None)
    token, key = shop.issuer.token(), str(uuid4())
    answers = await asyncio.gather(
        *(
            patiently(partial(shop.buy, one, token=token, key=key, api=api))
            for api in islice(cycle(workers), 50)
        )
    )
    assert {answer.status for answer in answers} == {201}
    assert all(answer.body == answers[0].body for answer in answers)
    assert (await shop.ledger(one))["held"] == 1
    reused = await asyncio.gather(
        *(patiently(partial(shop.buy, two, token=token, key=key, api=api)) for api in workers)
    )
    assert {(answer.status, answer.body["type"]) for answer in reused} == {
        (422, "/problems/key-reused")
    }
    assert (await shop.ledger(two))["held"] == 0


async def test_place_order_one_key_for_two_offers_at_once_is_one_order(
    shop: Shop, workers: list[Client]
) -> None:
    for _ in range(5):
        offers = [await shop.offer() for _ in range(2)]
        token, key = shop.issuer.token(), str(uuid4())
        answers = await asyncio.gather(
            *(
                patiently(partial(shop.buy, offer, token=token, key=key, api=api))
                for offer in offers
                for api in workers
            )
        )
        assert [answer.status for answer in answers].count(201) == len(workers)
        assert {answer.status for answer in answers} == {201, 422}
        assert sum([(await shop.ledger(offer))["held"] for offer in offers]) == 1


async def test_place_order_two_keys_of_who_may_have_one(shop: Shop, workers: list[Client]) -> None:
    for _ in range(5):
        offer, token = await shop.offer(per_customer=1), shop.issuer.token()
        answers = await asyncio.gather(
            *(
                patiently(partial(shop.buy, offer, token=token, key=str(uuid4()), api=api))
                for api in (workers[0], workers[1])
            )
        )
        assert sorted(answer.status for answer in answers) == [201, 409]
        assert (await shop.ledger(offer))["held"] == 1


async def test_baskets_that_cross_never_wait_for_each_other(
    shop: Shop, workers: list[Client]
) -> None:
    """Two offers, asked for in both orders at every worker: no deadlock, nothing oversold."""
    offers = [await shop.offer(stock=30) for _ in range(2)]
    baskets = islice(cycle([offers, offers[::-1], offers[:1], offers[1:]]), 200)
    answers = await asyncio.gather(
        *(
            patiently(
                partial(shop.buy, *basket, token=shop.issuer.token(), key=str(uuid4()), api=api)
            )
            for basket, api in zip(baskets, cycle(workers[:3]), strict=False)
        )
    )
    assert {answer.status for answer in answers} == {201, 409}
    for offer in offers:
        assert await shop.ledger(offer) == {"initial": 30, "remaining": 0, "held": 30, "sold": 0}


async def test_a_client_who_leaves_has_one_order_or_none_and_the_key_tells(
    shop: Shop, workers: list[Client]
) -> None:
    crowd = Crowd(shop, await shop.offer(stock=100))
    chance = random.Random(5)  # noqa: S311 - not a secret

    async def leave_soon(api: Client) -> None:
        async with asyncio.timeout(chance.random() * 0.02):
            await crowd.buy(api)

    left = await asyncio.gather(
        *(leave_soon(api) for api in islice(cycle(workers), 100)), return_exceptions=True
    )
    assert TimeoutError in map(type, left)
    await asyncio.sleep(0.2)
    orders = "SELECT key, id::text FROM orders WHERE key = ANY($1)"
    before = await shop.db.fetch(orders, [key for _, key in crowd.told])
    await crowd.insist(workers)
    told = {(answer.data["key"], answer.data["id"]) for answer in crowd.won()}
    assert {tuple(row) for row in before} <= told
    assert len(crowd.won()) == 100
    assert await crowd.agrees_with_the_tables()


async def test_sigterm_in_a_rush_answers_whoever_was_let_in(
    shop: Shop, environ: dict[str, str], workers: list[Client]
) -> None:
    async with one_more(environ) as (api, process):
        crowd = Crowd(shop, await shop.offer(stock=500))
        buying = asyncio.create_task(rush(crowd, [api], 300))
        while not (await shop.ledger(crowd.offer))["held"]:
            await asyncio.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        answered = await buying
        assert set(answered) <= {0, 201}  # nothing was answered to who came too late
        assert answered.count(201) > 0
        assert await process.wait() == 0
    assert await crowd.agrees_with_the_tables()
    await crowd.insist(workers)
    assert len(crowd.won()) == 300


# However long the test takes until it has killed who waits.
HOLD_COMMITS = """
CREATE FUNCTION hold_commit() RETURNS trigger LANGUAGE plpgsql
  SET lock_timeout = 0 SET transaction_timeout = 0 AS
  'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER hold_commit AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION hold_commit()
"""
RELEASE_COMMITS = "DROP TRIGGER hold_commit ON orders; DROP FUNCTION hold_commit"
WAITS = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND usename <> '' AND wait_event = $1 AND query ILIKE $2
"""


async def until_waiting(db: asyncpg.Connection, event: str, statement: str) -> None:
    async with asyncio.timeout(30):
        while not await db.fetchval(WAITS, event, statement):
            await asyncio.sleep(0.002)


async def test_a_worker_killed_between_commit_and_answer_has_sold_and_the_retry_says_so(
    shop: Shop, environ: dict[str, str], workers: list[Client]
) -> None:
    """The commit is on its way to the server, which is slow; the worker dies; the commit goes on."""
    crowd = Crowd(shop, await shop.offer(stock=1))
    async with (
        one_more(environ) as (doomed, process),
        shop_at(environ, doomed, shop.issuer) as slow,
    ):
        await shop.db.execute(HOLD_COMMITS)
        await slow.db.execute("SELECT pg_advisory_lock(1)")
        buying = asyncio.create_task(crowd.buy(doomed))
        await until_waiting(shop.db, "advisory", "COMMIT%")
        process.kill()
        await buying
        assert list(crowd.told.values()) == [None]
        await slow.db.execute("SELECT pg_advisory_unlock(1)")
    [name] = crowd.told
    while not await shop.db.fetchval("SELECT count(*) FROM orders WHERE key = $1", name[1]):
        await asyncio.sleep(0.005)
    await shop.db.execute(RELEASE_COMMITS)
    late = partial(shop.buy, crowd.offer, token=shop.issuer.token(), key="late", api=workers[1])
    assert (await patiently(late)).status == 409
    await crowd.insist(workers)
    assert len(crowd.won()) == 1
    assert await crowd.agrees_with_the_tables()


async def test_a_worker_stopped_in_the_middle_keeps_nobody_out_and_tells_no_lie(
    shop: Shop, environ: dict[str, str], workers: list[Client]
) -> None:
    """It stops with the offer's lock in hand; a second later the lock is there for others."""
    crowd = Crowd(shop, await shop.offer(stock=STOCK))
    others = Crowd(shop, crowd.offer)
    async with one_more(environ) as (api, process), shop_at(environ, api, shop.issuer) as own:
        await rush(Crowd(shop, await shop.offer()), [api])  # it has prepared its statements
        async with own.db.transaction():
            await own.db.execute("LOCK TABLE orders IN SHARE MODE")
            buying = [asyncio.create_task(crowd.buy(api, patient=True)) for _ in range(5)]
            await until_waiting(shop.db, "relation", "%INSERT INTO orders%")
            process.send_signal(signal.SIGSTOP)
        await rush(others, workers)
        await others.insist(workers)
        assert len(others.won()) == STOCK
        process.send_signal(signal.SIGCONT)
        await asyncio.gather(*buying)
        await crowd.insist([api])
    assert {answer.status for answer in crowd.told.values() if answer} == {409}
    assert await others.agrees_with_the_tables()


@pytest.mark.parametrize(("moment", "patience_s"), [("between statements", 1), ("in one", 4)])
async def test_an_offers_lock_is_held_for_seconds_at_most(
    shop: Shop,
    environ: dict[str, str],
    moment: str,
    patience_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever sends the first half of a statement and stops is not idle to the server."""
    offer = await shop.offer()
    monkeypatch.undo()  # this is about the product's own patience
    async with shop_at(environ, shop.api, shop.issuer) as paused:
        transaction = paused.db.transaction()
        await transaction.start()
        before = await paused.db.fetchval("SELECT clock_timestamp()")
        await lock_offers(paused.db, [offer])
        if moment == "in one":
            await paused.db.prepare("SELECT 1")
        after = await shop.db.fetchval(
            "UPDATE offers SET name = name WHERE id = $1 RETURNING clock_timestamp()", offer
        )
        assert patience_s - 0.1 < (after - before).total_seconds() < patience_s + 2.9


SHIFTED = """
import time
real, real_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: real() + {s}, lambda: real_ns() + {s} * 10**9
"""


@asynccontextmanager
async def with_its_clock_off(
    environ: Mapping[str, str], folder: Path, seconds: int
) -> AsyncIterator[Client]:
    """A worker whose Python reads another time; it does so from its first line on."""
    folder = folder / str(seconds)
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFTED.format(s=seconds))
    async with one_more({**environ, "PYTHONPATH": str(folder)}) as (api, _):
        yield api


async def test_the_databases_clock_opens_and_closes_a_sale_whatever_the_workers_think(
    shop: Shop, environ: dict[str, str], workers: list[Client], tmp_path: Path
) -> None:
    async with (
        with_its_clock_off(environ, tmp_path, -5) as slow,
        with_its_clock_off(environ, tmp_path, 5) as fast,
    ):
        # Its clock is off indeed: a token that is good for three seconds is over there.
        brief = shop.issuer.token(lives_s=3)
        assert (await shop.buy(await shop.offer(), token=brief, api=fast)).status == 401
        asked = (slow, fast, workers[0])
        told: list[set[int]] = [set() for _ in asked]
        while any(statuses != {425, 201, 410} for statuses in told):  # one was too slow to hear all
            offer = await shop.offer(stock=10_000, opens_in_s=0.5, closes_in_s=1)
            sale = await asyncio.gather(
                *(ask_past_the_end(shop, offer, api, environ) for api in asked)
            )
            told = [before | now for before, now in zip(told, sale, strict=True)]
        # So too a room that is open by the clock of one of them alone.
        states = {False: "gathering", True: "admitted"}
        opened = "SELECT opens_at <= clock_timestamp() FROM offers WHERE id = $1"
        for api, opens_in_s in ((fast, 4), (slow, -1)):
            offer = await shop.offer(admit_per_s=1, opens_in_s=opens_in_s)
            path, token = f"/api/v1/offers/{offer}/room", shop.issuer.token()
            before = await shop.db.fetchval(opened, offer)
            joined = await patiently(partial(api.call, "POST", path, token=token))
            after = await shop.db.fetchval(opened, offer)
            assert joined.data["state"] in {states[before], states[after]}


def right(before: float, after: float) -> set[int]:
    """What may be answered between these seconds of the sale."""
    phases = ((425, -inf, 0.5), (201, 0.5, 1), (410, 1, inf))
    return {status for status, begins, ends in phases if before < ends and begins <= after}


async def ask_past_the_end(
    shop: Shop, offer: UUID, api: Client, environ: Mapping[str, str]
) -> set[int]:
    """What is answered until the sale is over, each time what is right by the database."""
    second = """SELECT extract(epoch FROM clock_timestamp() - opens_at)::float8 + 0.5
                FROM offers WHERE id = $1"""
    heard = set()
    async with shop_at(environ, api, shop.issuer) as own:
        after = 0.0
        while after < 1.2:
            before = await own.db.fetchval(second, offer)
            buy = partial(own.buy, offer, token=shop.issuer.token(), key=str(uuid4()))
            answer = await patiently(buy)
            after = await own.db.fetchval(second, offer)
            assert answer.status in right(before, after)
            heard.add(answer.status)
    return heard


@pytest.fixture
async def own_redis(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
    with running(valkey(tmp_path / "valkey", free_port())) as server:
        environ["REDIS_URL"] = server.server.url
        yield server


@pytest.fixture
async def own_postgres(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
    """A PostgreSQL that a test may kill, with every safety on."""
    with running(postgres(tmp_path / "postgres", free_port())) as server:
        environ["DATABASE_URL"] = server.server.url
        await migrate(server.server.url, find("orders"))
        yield server


@asynccontextmanager
async def two_workers(environ: Mapping[str, str]) -> AsyncIterator[list[Client]]:
    async with one_more(environ) as (one, _), one_more(environ) as (two, _):
        yield [one, two]


@asynccontextmanager
async def selling(crowd: Crowd, workers: Sequence[Client]) -> AsyncIterator[None]:
    """Customers come one after the other, twenty at a time, while the block runs."""
    buying = [asyncio.create_task(crowd.buy_for_ever(workers)) for _ in range(20)]
    yield
    for one in buying:
        one.cancel()
    await asyncio.wait(buying)


async def until_sold(crowd: Crowd, number: int) -> None:
    wanted = len(crowd.won()) + number
    async with asyncio.timeout(60):
        while len(crowd.won()) < wanted:
            await asyncio.sleep(0.01)


async def until_refused(crowd: Crowd) -> None:
    async with asyncio.timeout(60):
        while not any(answer and answer.status == 503 for answer in crowd.told.values()):
            await asyncio.sleep(0.01)


async def test_redis_killed_in_a_sale_and_back_with_old_data_changes_nothing(
    shop: Shop, environ: dict[str, str], own_redis: Running, tmp_path: Path
) -> None:
    async with two_workers(environ) as workers:
        crowd = Crowd(shop, await shop.offer(stock=600))
        own_redis.stop()
        data, old = own_redis.server.data, tmp_path / "old"
        shutil.copytree(data, old)
        own_redis.restart()
        async with selling(crowd, workers):
            await until_sold(crowd, 100)
            own_redis.kill()
            await until_sold(crowd, 100)
            shutil.rmtree(data)
            shutil.copytree(old, data)
            own_redis.restart()
            await until_sold(crowd, 600 - len(crowd.won()))
            await asyncio.sleep(0.1)
        await crowd.insist(workers)
        assert {answer.status for answer in crowd.told.values() if answer} == {201, 409}
        assert len(crowd.won()) == 600
        assert await crowd.agrees_with_the_tables()


async def test_postgresql_killed_in_a_sale_has_every_order_that_was_answered(
    environ: dict[str, str], own_postgres: Running, issuer: Issuer
) -> None:
    async with two_workers(environ) as workers:
        async with shop_at(environ, workers[0], issuer) as before:
            crowd = Crowd(before, await before.offer(stock=100_000))
            async with selling(crowd, workers):
                await until_sold(crowd, 200)
                own_postgres.kill()
                await until_refused(crowd)
                own_postgres.restart()
                await until_sold(crowd, 100)
        async with shop_at(environ, workers[0], issuer) as crowd.shop:
            answered = {answer.status for answer in crowd.told.values() if answer}
            assert answered == {201, 503}
            await crowd.insist(workers)
            assert len(crowd.won()) == len(crowd.told)
            assert await crowd.agrees_with_the_tables()
