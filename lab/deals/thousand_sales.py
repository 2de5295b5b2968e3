"""A thousand sales: a hundred buyers at four workers, ten in stock, and each time exactly ten are sold.

Claim: nothing is oversold and no answered order is lost, also when Valkey, a worker or PostgreSQL is
killed in the middle.
Target: every one of the sales; places without gaps, each 201 in the tables once, and the ledger right.
What bounds it: nothing; one sale that differs is a fault.

The buyers of a quiet sale come all at once, once each. In the others they buy on until they hear that it
is sold out, and whoever gets no answer asks again under the same key, as every client should.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from lab.deals.sale import MAKE_OFFER, ORDERS, customers
from lab.machine import CORES
from lab.result import Lab, Result, Target
from lab.servers import HOST, Served, worker

SALES, BUYERS, STOCK = 1_000, 100, 10
SALES_WITH_EACH, LARGER_STOCK, KILL_AT = 10, 1_000, 300
WORKERS = 4
QUIET = "nothing else happens"
SOLD = "SELECT key, place FROM orders JOIN order_items ON order_id = orders.id WHERE offer_id = $1"
COUNTERS = "SELECT initial, remaining, held, sold FROM offers WHERE id = $1"
CREATED, CONFLICT, UNAVAILABLE = 201, 409, 503


@dataclass
class Sale:
    """One offer, and what its buyers were told: those who won, the places by their keys."""

    stock: int
    offer_id: UUID = field(default_factory=uuid4)
    won: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    asked_again: int = 0
    seconds: float = 0.0
    fault: str | None = None

    async def check(self, db: Any) -> None:
        stored = {row["key"]: row["place"] for row in await db.fetch(SOLD, self.offer_id)}
        counters = tuple(await db.fetchrow(COUNTERS, self.offer_id))
        if stored != self.won:
            self.fault = f"{len(self.won)} orders were answered, {len(stored)} are there"
        elif sorted(stored.values()) != list(range(1, self.stock + 1)):
            self.fault = f"{len(stored)} of {self.stock} were sold, or the places have gaps"
        elif counters != (self.stock, 0, self.stock, 0):
            self.fault = f"the ledger says {counters}"


@dataclass
class House:
    """Four workers and the servers below them, each of which a sale may kill."""

    lab: Lab
    environ: Mapping[str, str]
    tokens: Sequence[str]
    started: ExitStack
    workers: list[Served] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, lab: Lab) -> Iterator["House"]:
        with customers(lab, BUYERS) as (environ, tokens), ExitStack() as started:
            house = cls(lab, environ, tokens, started)
            house.workers = [house.start() for _ in range(WORKERS)]
            yield house

    def start(self) -> Served:
        return self.started.enter_context(worker(self.environ, CORES, app="orders"))

    def kill_valkey(self) -> None:
        self.lab.stack.valkey.kill()
        self.lab.stack.valkey.restart()

    def kill_worker(self) -> None:
        os.kill(self.workers[0].pid, signal.SIGKILL)
        self.workers[0] = self.start()

    def kill_postgresql(self) -> None:
        self.lab.stack.postgres.kill()
        self.lab.stack.postgres.restart()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """For a moment only: a sale may end the server."""
        url, schema = self.environ["DATABASE_URL"], {"search_path": "orders"}
        db = await asyncpg.connect(url, server_settings=schema)
        try:
            yield db
        finally:
            await db.close()


def measure(lab: Lab) -> Result:
    with House.open(lab) as house:
        found = {QUIET: asyncio.run(_sell_quietly(house))}
        for kill in (house.kill_valkey, house.kill_worker, house.kill_postgresql):
            what = kill.__name__.replace("kill_", "") + " is killed"
            found[what] = [_sell_while(house, kill) for _ in range(SALES_WITH_EACH)]
            lab.say(f"{what}: {_right(found[what])} of {SALES_WITH_EACH} right")
    faults = [f"{what}: {sale.fault}" for what in found for sale in found[what] if sale.fault]
    return Result(
        columns=("meanwhile", "sales", "right", "201s", "409s", "asked again", "s a sale"),
        rows=[_row(what, sales) for what, sales in found.items()],
        targets=[
            Target(
                f"sales, {what}", f"all {len(sales):,}", f"{_right(sales):,}", not _faults(sales)
            )
            for what, sales in found.items()
        ],
        others=None,
        notes=[
            f"{BUYERS} buyers at {WORKERS} workers, stock {STOCK} and {LARGER_STOCK:,}.",
            f"Where something is killed, it is at the {KILL_AT}th 201.",
            *faults,
        ],
        raw={what: [sale.seconds for sale in sales] for what, sales in found.items()},
    )


def _row(what: str, sales: Sequence[Sale]) -> list[str]:
    return [
        what,
        f"{len(sales):,}",
        f"{_right(sales):,}",
        f"{sum(len(sale.won) for sale in sales):,}",
        f"{sum(sale.refused for sale in sales):,}",
        f"{sum(sale.asked_again for sale in sales):,}",
        f"{median(sale.seconds for sale in sales):.2f}",
    ]


def _faults(sales: Sequence[Sale]) -> list[str]:
    return [sale.fault for sale in sales if sale.fault]


def _right(sales: Sequence[Sale]) -> int:
    return len(sales) - len(_faults(sales))


async def _sell_quietly(house: House) -> list[Sale]:
    sales = []
    async with _client() as http, house.database() as db:
        for number in range(SALES):
            sale = Sale(STOCK)
            await db.execute(MAKE_OFFER, sale.offer_id, STOCK, 1)
            began = time.perf_counter()
            buyers = zip(house.tokens, cycle(range(WORKERS)), strict=False)
            await asyncio.gather(*(_buy(house, http, sale, *buyer) for buyer in buyers))
            sale.seconds = time.perf_counter() - began
            await sale.check(db)
            sales.append(sale)
            if (number + 1) % 100 == 0:
                house.lab.say(f"{number + 1:,} sales, {_right(sales):,} right")
    return sales


def _sell_while(house: House, kill: Callable[[], None]) -> Sale:
    """The buyers have a thread, because servers must be started by the one that stays."""
    sale = Sale(LARGER_STOCK)
    with ThreadPoolExecutor(1) as aside:
        selling = aside.submit(asyncio.run, _sell_out(house, sale))
        while len(sale.won) < KILL_AT and not selling.done():
            time.sleep(0.001)
        kill()
        selling.result()
    return sale


async def _sell_out(house: House, sale: Sale) -> None:
    async with house.database() as db:
        await db.execute(MAKE_OFFER, sale.offer_id, sale.stock, None)
    began = time.perf_counter()

    async def buy_on(token: str, first: int) -> None:
        while await _buy(house, http, sale, token, first):
            pass

    async with _client() as http:
        buyers = zip(house.tokens, cycle(range(WORKERS)), strict=False)
        await asyncio.gather(*(buy_on(*buyer) for buyer in buyers))
    sale.seconds = time.perf_counter() - began
    async with house.database() as db:
        await sale.check(db)


async def _buy(
    house: House, http: aiohttp.ClientSession, sale: Sale, token: str, first: int
) -> bool:
    """One order, asked for at one worker after the other until one of them answers."""
    key = str(uuid4())
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    body = {"items": [{"offer_id": str(sale.offer_id), "quantity": 1}]}
    turns = cycle((*range(first, WORKERS), *range(first)))
    while True:
        url = f"http://{HOST}:{house.workers[next(turns)].port}{ORDERS}"
        with suppress(aiohttp.ClientError):
            async with http.post(url, json=body, headers=headers) as answer:
                told = await answer.json(content_type=None)
            if answer.status == CREATED:
                sale.won[key] = told["data"]["items"][0]["place"]
                return True
            if answer.status == CONFLICT:
                sale.refused += 1
                return False
            if answer.status != UNAVAILABLE:
                raise RuntimeError(f"The worker answered {answer.status}: {told}")
        sale.asked_again += 1
        await asyncio.sleep(0.05)


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
    )
