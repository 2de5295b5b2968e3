"""What orders' call of the catalog costs over gRPC, beside HTTP with JSON, and its share of an order.

Claim under test: gRPC makes calls between services cheaper, and a service that calls another for each
order spends most of the order's time on the call.
Compared, with no target set: whichever is better is told. One catalog process answers both on one
core, from the same statement; orders' own client asks from another, as many at once as is said.
What bounds it: both wires wait for the same statement in PostgreSQL, which has the catalog's core. On
a machine that is not quiet believe the CPU, not the times: gRPC's threads get more of a contested core.

An order here is orders' actions without their HTTP, each for another offer that is new to them: the one
kind of order in whose way the catalog is. A usual sale asks it every two seconds, beside the orders.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median
from time import perf_counter
from uuid import UUID, uuid4

import asyncpg
import uvloop

from holdfast.apps.orders.offers.actions import require_offers
from holdfast.apps.orders.offers.client import Catalog, catalog_at
from holdfast.apps.orders.offers.schemas import Offer
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.placing.actions import place_orders
from holdfast.apps.orders.placing.schemas import Asked, Item
from holdfast.apps.orders.resources import Orders, other_services
from holdfast.cli.servers import free_port
from holdfast.core.errors import BusyError, ProblemError
from holdfast.core.settings import Settings
from lab.deals.shelf import fill
from lab.load import quantile
from lab.machine import LOAD_CORE, Moment, Use, on
from lab.result import Lab, Ratio, Result, Target
from lab.servers import HOST, ON_ONE_CORE, worker

ROUNDS, ROUND_S, WARM_S = 4, 1.5, 0.3
PRODUCTS = 200_000
HTTP, GRPC = "HTTP and JSON", "gRPC"
CALL, ORDER = "call", "order"
OFFERS, AT_ONCE = (1, 20, 50), (1, 64)

Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    what: str
    offers: int
    at_once: int
    wire: str


@dataclass(frozen=True)
class Run:
    use: Use
    latencies: list[float]
    calling_s: float  # of all orders' time, what their calls took
    failed: int  # not answered within a second, the deadline of both

    @property
    def cpu_us(self) -> float:
        """Of both ends together, without PostgreSQL: it does the same for both."""
        return (self.use.load_cpu_s + self.use.cpu_s["catalog"]) / len(self.latencies) * 1e6


Found = Mapping[Case, list[Run]]


@dataclass(frozen=True)
class Scene:
    environ: Mapping[str, str]
    urls: Mapping[str, str]  # of the catalog, by wire
    watched: Mapping[str, int]
    ids: list[UUID]
    new: Iterator[UUID]  # each of these is new to orders


@dataclass
class Timed:
    """A catalog whose calls are timed."""

    catalog: Catalog
    took_s: float = 0.0

    async def select_offers(self, ids: Sequence[UUID]) -> dict[UUID, Offer]:
        began = perf_counter()
        try:
            return await self.catalog.select_offers(ids)
        finally:
            self.took_s += perf_counter() - began


def measure(lab: Lab) -> Result:
    found: dict[Case, list[Run]] = defaultdict(list)
    shuffled = random.Random(1)
    grpc_port = free_port()
    with lab.stack.database("catalog", "orders") as environ:
        fill(environ, PRODUCTS, 0)
        ids = asyncio.run(_products(environ))
        new = iter(shuffled.sample(ids, len(ids)))
        options = ("--grpc-port", str(grpc_port))
        with worker(environ, ON_ONE_CORE, app="catalog", options=options) as catalog, on(LOAD_CORE):
            urls = {HTTP: f"http://{HOST}:{catalog.port}", GRPC: f"grpc://{HOST}:{grpc_port}"}
            watched = {"catalog": catalog.pid, **lab.stack.watched}
            scene = Scene(environ, urls, watched, ids, new)
            for wire in urls:
                uvloop.run(
                    _run(Case(CALL, 50, 64, wire), scene)
                )  # its pool grows, its plans settle
            for number in range(ROUNDS):
                for case in shuffled.sample(CASES, len(CASES)):
                    run = uvloop.run(_run(case, scene))
                    found[case].append(run)
                    lab.say(f"round {number + 1}/{ROUNDS}  {case}: {run.cpu_us:.0f} us of CPU")
    runs = [run for some in found.values() for run in some]
    return Result(
        columns=COLUMNS,
        rows=[_row(case, found) for case in CASES],
        targets=_targets(found),
        others=median(run.use.others for run in runs),
        notes=[f"{ROUNDS} rounds of {ROUND_S} s, in random order. {_failures(found)}"],
        raw={str(case): [_raw(run) for run in some] for case, some in found.items()},
    )


CASES = [
    *(
        Case(CALL, offers, at_once, wire)
        for at_once in AT_ONCE
        for offers in OFFERS
        for wire in (HTTP, GRPC)
    ),
    *(Case(ORDER, 1, at_once, wire) for at_once in AT_ONCE for wire in (HTTP, GRPC)),
]
COLUMNS = (
    *("what", "offers", "at once", "wire", "a second", "p50 ms", "p99 ms"),
    *("caller's CPU us", "catalog's CPU us", "CPU to HTTP", "call's share"),
)


async def _products(environ: Mapping[str, str]) -> list[UUID]:
    connection = await asyncpg.connect(environ["DATABASE_URL"])
    try:
        return list(await connection.fetchval("SELECT array_agg(id) FROM catalog.products"))
    finally:
        await connection.close()


async def _run(case: Case, scene: Scene) -> Run:
    url = scene.urls[case.wire]
    if case.what == CALL:
        act = calls(url, scene.ids, case.offers)
    else:
        act = orders(url, scene.environ, scene.new)
    async with act as (once, timed):
        latencies: list[float] = []
        failed = 0
        end = perf_counter() + WARM_S + ROUND_S

        async def go_on() -> None:
            nonlocal failed
            while (began := perf_counter()) < end:
                try:
                    await once()
                except BusyError:
                    failed += 1
                else:
                    latencies.append(perf_counter() - began)

        going = [asyncio.create_task(go_on()) for _ in range(case.at_once)]
        await asyncio.sleep(WARM_S)
        latencies.clear()
        timed.took_s, before = 0.0, Moment.now(scene.watched)
        await asyncio.gather(*going)
        return Run(Moment.now(scene.watched).since(before), latencies, timed.took_s, failed)


@asynccontextmanager
async def calls(url: str, ids: list[UUID], offers: int) -> AsyncIterator[tuple[Act, Timed]]:
    chosen = cycle([ids[at : at + offers] for at in range(0, 10_000, offers)])
    async with other_services() as http, catalog_at(url, http) as catalog:
        timed = Timed(catalog)

        async def call() -> None:
            wanted = next(chosen)
            if len(await timed.select_offers(wanted)) != len(wanted):
                raise AssertionError("The catalog does not know its own products.")

        yield call, timed


@asynccontextmanager
async def orders(
    url: str, environ: Mapping[str, str], new: Iterator[UUID]
) -> AsyncIterator[tuple[Act, Timed]]:
    async with Orders.open(Settings.load(environ), Options(catalog_url=url)) as opened:
        timed = Timed(opened.catalog)
        here = replace(opened, catalog=timed)

        async def order() -> None:
            offer_id = next(new)
            await require_offers(here, [offer_id])
            asked = Asked(uuid4(), uuid4().hex, bytes(16), (Item(offer_id, 1),))
            answer = await here.merged(place_orders)(asked)
            if isinstance(answer, ProblemError):
                raise answer

        try:
            yield order, timed
        finally:
            await here.close()


def _row(case: Case, found: Found) -> list[str]:
    runs = found[case]
    shares = [run.calling_s / sum(run.latencies) for run in runs]
    alone = case.what == ORDER and case.at_once == 1  # others' calls are in nobody's time alone
    return [
        case.what,
        str(case.offers),
        str(case.at_once),
        case.wire,
        f"{median(len(run.latencies) / run.use.seconds for run in runs):,.0f}",
        f"{median(quantile(run.latencies, 0.5) for run in runs) * 1000:.2f}",
        f"{median(quantile(run.latencies, 0.99) for run in runs) * 1000:.2f}",
        f"{median(run.use.load_cpu_s / len(run.latencies) for run in runs) * 1e6:.0f}",
        f"{median(run.use.cpu_s['catalog'] / len(run.latencies) for run in runs) * 1e6:.0f}",
        str(_cpu_to_http(case, found)),
        f"{median(shares):.0%}" if alone else "",
    ]


def _cpu_to_http(case: Case, found: Found) -> Ratio:
    runs, others = found[case], found[replace(case, wire=HTTP)]
    return Ratio.of([run.cpu_us for run in runs], [run.cpu_us for run in others])


def _targets(found: Found) -> list[Target]:
    def times(case: Case) -> Ratio:
        medians = [
            [quantile(run.latencies, 0.5) for run in found[replace(case, wire=wire)]]
            for wire in (GRPC, HTTP)
        ]
        return Ratio.of(*medians)

    one, fifty = Case(CALL, 1, 1, GRPC), Case(CALL, 50, 1, GRPC)
    share = {
        wire: median(run.calling_s / sum(run.latencies) for run in found[Case(ORDER, 1, 1, wire)])
        for wire in (HTTP, GRPC)
    }
    return [
        Target("gRPC's latency to HTTP's, 1 offer, one at a time", "", str(times(one)), None),
        Target("the same, 50 offers", "", str(times(fifty)), None),
        Target(
            "both ends' CPU, gRPC to HTTP, 1 offer, 64 at once",
            "",
            str(_cpu_to_http(replace(one, at_once=64), found)),
            None,
        ),
        Target(
            "the call's share of an order for a new offer, HTTP and gRPC",
            "",
            f"{share[HTTP]:.0%} and {share[GRPC]:.0%}",
            None,
        ),
    ]


def _failures(found: Found) -> str:
    failed = {
        wire: sum(run.failed for case in found if case.wire == wire for run in found[case])
        for wire in (HTTP, GRPC)
    }
    return (
        f"Not answered within the deadline of 1 s: {failed[HTTP]} by HTTP, {failed[GRPC]} by gRPC."
    )


def _raw(run: Run) -> dict[str, object]:
    return {
        "done": len(run.latencies),
        "failed": run.failed,
        "calling_s": run.calling_s,
        "use": vars(run.use),
    }
