"""Pages of a million products: by cursor, by number, between prices, with their totals.

Claim: no page costs much more than what it shows, wherever it is, because each order has an index,
numbered pages reach only so far, and totals are kept rather than counted.
Target: p95 below 10 ms for a page that no worker has, wherever it is; a total 100 times quicker than
COUNT(*).
What bounds it: three short statements, and the bytes that are made of their rows.

Each question of ours is asked once, over HTTP, of one worker that has it not in memory; the first
page, which everybody opens, is asked again and again. Beside them the statements that these pages
replace, straight to PostgreSQL: OFFSET in the middle and COUNT(*).
"""

import asyncio
import http.client
import json
import random
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from time import perf_counter

import asyncpg

from lab.deals.shelf import fill
from lab.load import quantile
from lab.result import Lab, Result, Target
from lab.servers import HOST, Served, worker

PATH = "/api/v1/products"
PRODUCTS, OPEN_DEALS = 1_000_000, 50
ASKED, ASKED_OTHERS = 200, 20
WANTED_P95_MS, WANTED_TIMES = 10.0, 100
FIRST, CURSOR, NUMBERED, PRICES = (
    "the first page, from memory",
    "by cursor, anywhere",
    "by number, up to 10,000 products",
    "between prices, counted up to 10,000",
)
TOTAL, COUNT, OFFSET, COUNT_PRICES = (
    "the total, as it is kept",
    "COUNT(*)",
    "OFFSET 500,000",
    "COUNT(*) between prices",
)
STATEMENTS = {
    TOTAL: "SELECT sum(products) FROM categories",
    COUNT: "SELECT count(*) FROM products",
    OFFSET: "SELECT * FROM products ORDER BY price_krw, id LIMIT 20 OFFSET 500000",
    COUNT_PRICES: "SELECT count(*) FROM products WHERE price_krw BETWEEN 20000 AND 80000",
}


def measure(lab: Lab) -> Result:
    with lab.stack.database("catalog") as environ:
        lab.say(f"making {PRODUCTS:,} products")
        fill(environ, PRODUCTS, OPEN_DEALS)
        with worker(environ, app="catalog") as served:
            lab.say("asking for pages")
            took = {name: _ask(served, make(served)) for name, make in QUESTIONS.items()}
        lab.say("asking PostgreSQL")
        took |= asyncio.run(_run(environ))
    cold_ms = max(quantile(took[name], 0.95) for name in (CURSOR, NUMBERED, PRICES)) * 1000
    times = median(took[COUNT]) / median(took[TOTAL])
    return Result(
        columns=("question", "asked", "p50 ms", "p95 ms", "most ms"),
        rows=[
            [
                name,
                str(len(each)),
                *(f"{quantile(each, q) * 1000:.2f}" for q in (0.5, 0.95)),
                f"{max(each) * 1000:.2f}",
            ]
            for name, each in took.items()
        ],
        targets=[
            Target(
                "p95 of a page that is not in memory",
                f"{WANTED_P95_MS:.0f} ms",
                f"{cold_ms:.2f} ms",
                cold_ms < WANTED_P95_MS,
            ),
            Target(
                "the total, times quicker than COUNT(*)",
                str(WANTED_TIMES),
                f"{times:,.0f}",
                times >= WANTED_TIMES,
            ),
        ],
        others=None,
        notes=[f"{PRODUCTS:,} products in 100 categories, pages of 20, one question at a time."],
        raw={"seconds": took},
    )


def _first(_: Served) -> Iterator[str]:
    yield from [PATH] * ASKED


def _by_cursor(served: Served) -> Iterator[str]:
    """Each place once: behind the first product of a price, wherever it is."""
    shuffled = random.Random(1)
    for price_krw in shuffled.sample(range(1, 99_990), ASKED):
        first = f"{PATH}?sort=price&limit=1&price_from={price_krw}"
        cursor = _get(served, first)["next_cursor"]
        yield f"{first.replace('limit=1', 'limit=20')}&cursor={cursor}"


def _by_number(_: Served) -> Iterator[str]:
    shuffled = random.Random(2)
    for page in shuffled.sample(range(1, 501), ASKED):
        yield f"{PATH}?sort=name&page={page}"


def _between_prices(_: Served) -> Iterator[str]:
    shuffled = random.Random(3)
    for price_krw in shuffled.sample(range(1, 49_000), ASKED):
        yield f"{PATH}?sort=-price&price_from={price_krw}&price_to={price_krw * 2}"


QUESTIONS: dict[str, Callable[[Served], Iterator[str]]] = {
    FIRST: _first,
    CURSOR: _by_cursor,
    NUMBERED: _by_number,
    PRICES: _between_prices,
}


def _ask(served: Served, paths: Iterator[str]) -> list[float]:
    asked = http.client.HTTPConnection(HOST, served.port)
    took = []
    for path in paths:
        began = perf_counter()
        asked.request("GET", path)
        answer = asked.getresponse()
        body = answer.read()
        took.append(perf_counter() - began)
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {body.decode()}")
    return took


def _get(served: Served, path: str) -> dict[str, str]:
    asked = http.client.HTTPConnection(HOST, served.port)
    asked.request("GET", path)
    told: dict[str, str] = json.load(asked.getresponse())
    return told


async def _run(environ: Mapping[str, str]) -> dict[str, list[float]]:
    settings = {"search_path": "catalog"}
    connection = await asyncpg.connect(environ["DATABASE_URL"], server_settings=settings)
    took: dict[str, list[float]] = {}
    for name, statement in STATEMENTS.items():
        took[name] = []
        for _ in range(ASKED_OTHERS):
            began = perf_counter()
            await connection.fetch(statement)
            took[name].append(perf_counter() - began)
    await connection.close()
    return took
