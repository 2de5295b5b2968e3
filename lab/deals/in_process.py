"""Orders without HTTP: what the merged write itself does, and what slower commits cost it.

Claim: a batch of orders costs little more than one, so PostgreSQL is not the limit of a hot deal; and a
commit that waits for a replica delays a batch, not each order.
Target: 30,000 orders/s with items, keys and outbox; 8,000/s when each commit takes 2 ms longer.
What bounds it: one connection works at a time, because the deal's row is locked. Of each order's time
PostgreSQL takes two thirds (nine index entries, three rows, two lookups), Python, which must read the
one answer before it can ask the next question, the rest. Two ids are a fifth of PostgreSQL's time: as
packaged it is built without OpenSSL, and opens /dev/urandom for each `uuidv7()`, 2.6 us. And it slows
down as the tables grow: a first run on empty ones sells 29,000 to 32,000/s, the third 26,000 to 29,000.

Buyers are tasks of this process, each asking again when it was answered, each order by a customer and
under a key of its own, limit 1. PostgreSQL has the other core. Slower commits are `commit_delay` 2,000.
"""

import asyncio
import gc
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from uuid import UUID, uuid4

import uvloop

from holdfast.apps.orders.options import Options
from holdfast.apps.orders.placing.actions import place_orders
from holdfast.apps.orders.placing.schemas import Asked, Item
from holdfast.apps.orders.resources import Orders
from holdfast.core.errors import ProblemError
from holdfast.core.serve import LOOK_SELDOM
from holdfast.core.settings import Settings
from lab.deals.sale import make_offer, prepare
from lab.deals.ways import Sale, conditional, row_lock
from lab.load import quantile
from lab.machine import LOAD_CORE, Moment, Use, on
from lab.result import Lab, Ratio, Result, Target
from lab.servers import execute

ROUNDS, ROUND_S, WARM_S = 4, 2.5, 0.5
STOCK = 10_000_000
MERGED, ROW_LOCK, CONDITIONAL = "merged", "row_lock", "conditional"
USUAL, SLOW = "as it is", "2 ms slower"
BUYERS = {MERGED: (64, 1024), ROW_LOCK: (64,), CONDITIONAL: (64,)}
ENOUGH = {MERGED: 60_000, ROW_LOCK: 6_000, CONDITIONAL: 12_000}  # orders/s that are prepared for
WANTED_RATE, WANTED_SLOW_RATE = 30_000, 8_000

Buy = Callable[[Asked], Awaitable[object]]


@dataclass(frozen=True)
class Run:
    """What became of one stretch of buying."""

    orders: int
    seconds: float
    own_cpu_s: float
    use: Use
    latencies: list[float]

    @property
    def rate(self) -> float:
        return self.orders / self.seconds


Found = Mapping[tuple[str, int, str], list[Run]]


def measure(lab: Lab) -> Result:
    found: dict[tuple[str, int, str], list[Run]] = defaultdict(list)
    shuffled = random.Random(1)
    gc.set_threshold(*LOOK_SELDOM)  # as in a worker
    with lab.stack.database("orders") as environ, on(LOAD_CORE):
        prepare(environ)
        for commits in (USUAL, SLOW):
            asyncio.run(_delay_commits(environ, 2_000 if commits == SLOW else 0))
            offers = {way: make_offer(environ, STOCK, per_customer=1) for way in BUYERS}
            cases = [(way, buyers) for way in BUYERS for buyers in BUYERS[way]]
            for number in range(ROUNDS):
                for way, buyers in shuffled.sample(cases, len(cases)):
                    run = uvloop.run(_buy(lab, environ, way, offers[way], buyers))
                    found[way, buyers, commits].append(run)
                    told = f"{way}, {buyers} buyers, commits {commits}: {run.rate:,.0f}/s"
                    lab.say(f"round {number + 1}/{ROUNDS}  {told}")
    runs = [run for some in found.values() for run in some]
    return Result(
        columns=("variant", "buyers", "commits", "orders/s", "to row_lock", *_COSTS),
        rows=[_row(key, found) for key in found],
        targets=_targets(found),
        others=median(run.use.others for run in runs),
        notes=[f"{ROUNDS} rounds of {ROUND_S} s, in random order."],
        raw={
            ", ".join(map(str, key)): [
                {"orders": run.orders, "seconds": run.seconds, "use": vars(run.use)} for run in some
            ]
            for key, some in found.items()
        },
    )


_COSTS = ("own CPU us", "PostgreSQL CPU us", "p50 ms", "p99 ms")


async def _delay_commits(environ: Mapping[str, str], delay_us: int) -> None:
    url = environ["DATABASE_URL"]
    name = url.rpartition("/")[2]
    await execute(url, f"ALTER DATABASE {name} SET commit_delay = {delay_us}")
    await execute(url, f"ALTER DATABASE {name} SET commit_siblings = 0")


async def _buy(lab: Lab, environ: Mapping[str, str], way: str, offer_id: UUID, buyers: int) -> Run:
    settings = Settings.load(environ)
    async with Orders.open(settings, Options()) as here:
        buy = _way(here, way)
        asked = _asked(offer_id, int(ENOUGH[way] * (WARM_S + ROUND_S)))
        latencies: list[float] = []
        end = perf_counter() + WARM_S + ROUND_S

        async def go_on_buying() -> None:
            while (began := perf_counter()) < end:
                await buy(next(asked))
                latencies.append(perf_counter() - began)

        buying = [asyncio.create_task(go_on_buying()) for _ in range(buyers)]
        await asyncio.sleep(WARM_S)
        latencies.clear()
        before, own = Moment.now(lab.stack.watched), process_time()
        await asyncio.wait(buying)
        use = Moment.now(lab.stack.watched).since(before)
        return Run(len(latencies), use.seconds, process_time() - own, use, latencies)


def _way(here: Orders, way: str) -> Buy:
    if way == MERGED:
        merged = here.merged(place_orders)

        async def buy(asked: Asked) -> None:
            answer = await merged(asked)
            if isinstance(answer, ProblemError):
                raise answer

        return buy
    alone = {ROW_LOCK: row_lock, CONDITIONAL: conditional}[way]
    return lambda asked: alone(Sale(here, asked))


def _asked(offer_id: UUID, most: int) -> Iterator[Asked]:
    """Made beforehand: what is measured is the write."""
    items = (Item(offer_id, 1),)
    asked = [Asked(uuid4(), uuid4().hex, bytes(16), items) for _ in range(most)]
    gc.freeze()  # they are no garbage, and need not be looked at
    return iter(asked)


def _row(key: tuple[str, int, str], found: Found) -> list[str]:
    way, buyers, commits = key
    runs = found[key]
    return [
        way,
        f"{buyers:,}",
        commits,
        f"{median(run.rate for run in runs):,.0f}",
        str(_times(found, key)),
        f"{median(run.own_cpu_s / run.orders for run in runs) * 1e6:.0f}",
        f"{median(run.use.cpu_s['postgres'] / run.orders for run in runs) * 1e6:.0f}",
        f"{median(quantile(run.latencies, 0.5) for run in runs) * 1000:.1f}",
        f"{median(quantile(run.latencies, 0.99) for run in runs) * 1000:.1f}",
    ]


def _times(found: Found, key: tuple[str, int, str]) -> Ratio:
    rates = [run.rate for run in found[key]]
    return Ratio.of(rates, [run.rate for run in found[ROW_LOCK, 64, key[2]]])


def _targets(found: Found) -> list[Target]:
    def rate(buyers: int, commits: str) -> float:
        return median(run.rate for run in found[MERGED, buyers, commits])

    return [
        Target(
            "merged orders with items, keys and outbox, in process, 1,024 buyers",
            f"{WANTED_RATE:,}/s",
            f"{rate(1024, USUAL):,.0f}/s",
            rate(1024, USUAL) >= WANTED_RATE,
        ),
        Target(
            "the same, 64 buyers, times the row-lock transaction",
            "15",
            str(_times(found, (MERGED, 64, USUAL))),
            _times(found, (MERGED, 64, USUAL)).middle >= 15,  # noqa: PLR2004
        ),
        Target(
            "commits 2 ms slower, 64 buyers",
            f"{WANTED_SLOW_RATE:,}/s",
            f"{rate(64, SLOW):,.0f}/s",
            rate(64, SLOW) >= WANTED_SLOW_RATE,
        ),
    ]
