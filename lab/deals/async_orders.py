"""Orders answered at once, beside orders asked for now and decided about by the background jobs.

Question: what does it buy to ask first and be told later, and what does it cost?
No target: the two are compared, at the same clients, and at a rate that both can bear.
What bounds it: both cores. The asynchronous mode has two Python processes at work where the synchronous
one has one, so its rates are not those of one worker; and where others want the cores, too, two processes
get more of them than one. What an order costs in CPU time compares the two without that.

One worker, one jobs process, PostgreSQL, Valkey and the load share both cores. Closed loop with 64 and
1,000 clients, who ask again as soon as they are answered, decided or not; then an open loop. Whatever
is in the queue when a round ends is decided before the next, and counts: completed is from the first
question to the last decision. `decided` is from when a request was stored to its decision, by the
database's clock; of a synchronous order it is the answer. CPU time is that of all orders of the round,
from its first second until the last is decided.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg

from lab.deals.sale import ORDERS, customers, make_offer, orders
from lab.load import Outcome, Stream
from lab.machine import CORES, Moment
from lab.result import Lab, Result, Target, noise, others
from lab.servers import Served, jobs, worker

REQUESTS = "/api/v1/order-requests"
SYNC, ASYNC = "synchronous", "asynchronous"
PATHS = {SYNC: (ORDERS, 201), ASYNC: (REQUESTS, 202)}
LOADS: dict[str, tuple[int, float | None]] = {
    "64 clients": (64, None),
    "1,000 clients": (1000, None),
    "1,000/s": (64, 1000),
}
ROUNDS, ROUND_S = 3, 2.5
STOCK = 10_000_000
ENOUGH = 32_000  # orders/s that requests are prepared for
ALL_DECIDED_WITHIN_S = 120
DECIDED = """
SELECT
  count(*) AS number,
  extract(epoch FROM max(decided_at) - min(requested_at))::float8 AS seconds,
  percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (
    ORDER BY extract(epoch FROM decided_at - requested_at)::float8 * 1000
  ) AS quantiles_ms
FROM order_requests WHERE requested_at > $1 AND state = 'placed'
"""
PLACED = "SELECT count(*) AS number FROM orders WHERE placed_at > $1"


@dataclass(frozen=True)
class Round:
    outcome: Outcome
    accepted: float  # a second
    completed: float
    p50_ms: float  # until the decision
    p99_ms: float
    cpu_us: dict[str, float]  # an order, by process

    def summary(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name != "outcome"}
        return kept | self.outcome.summary()


Found = Mapping[tuple[str, str], list[Round]]


def measure(lab: Lab) -> Result:
    found: dict[tuple[str, str], list[Round]] = defaultdict(list)
    shuffled = random.Random(1)
    cases = [(mode, load) for load in LOADS for mode in PATHS]
    most = max(clients for clients, _ in LOADS.values())
    with (
        customers(lab, most) as (environ, tokens),
        worker(environ, CORES, app="orders") as served,
        jobs(environ, CORES, app="orders") as deciding,
    ):
        sale = Sale(lab, environ, tokens, make_offer(environ, STOCK), served, deciding)
        for number in range(ROUNDS):
            for mode, load in shuffled.sample(cases, len(cases)):
                one = sale.go_on(mode, load)
                found[mode, load].append(one)
                told = f"{one.accepted:,.0f} accepted/s, {one.completed:,.0f} completed/s"
                lab.say(f"round {number + 1}/{ROUNDS}  {mode}, {load}: {told}")
    found = {case: found[case] for case in cases}
    everything = [one.outcome for rounds in found.values() for one in rounds]
    return Result(
        columns=(
            *("mode", "load", "accepted/s", "completed/s", "503s", "answered p50 ms", "p99 ms"),
            *("decided p50 ms", "p99 ms", "worker CPU us", "jobs CPU us", "PostgreSQL CPU us"),
        ),
        rows=[_row(mode, load, rounds) for (mode, load), rounds in found.items()],
        targets=_compared(found),
        others=others(everything),
        notes=[f"{ROUNDS} rounds of {ROUND_S} s, in random order.", noise(everything)],
        raw={", ".join(case): [one.summary() for one in rounds] for case, rounds in found.items()},
    )


@dataclass(frozen=True)
class Sale:
    lab: Lab
    environ: Mapping[str, str]
    tokens: list[str]
    offer_id: UUID
    served: Served
    deciding: Served

    def go_on(self, mode: str, load: str) -> Round:
        (path, accepted), (clients, rate) = PATHS[mode], LOADS[load]
        each = int((rate or ENOUGH) * (ROUND_S + 1) / clients) + 1
        asking = orders(self.tokens[:clients], self.offer_id, each, path)
        stream = Stream(mode, self.served.port, asking, rate=rate)
        watched = {"worker": self.served.pid, "jobs": self.deciding.pid}
        watched |= self.lab.stack.watched
        began = asyncio.run(_fetch(self.environ, "SELECT clock_timestamp() AS at"))["at"]
        before = Moment.now(watched)
        outcome = self.lab.load.fire(stream, seconds=ROUND_S, watched=watched)
        _until_decided(self.environ)
        use = Moment.now(watched).since(before)
        placed = asyncio.run(_fetch(self.environ, PLACED, began))["number"]
        cpu_us = {name: spent_s / placed * 1e6 for name, spent_s in use.cpu_s.items()}
        tally = outcome.tallies[mode]
        per_s = tally.statuses[accepted] / tally.seconds
        if mode == SYNC:
            p50_ms, p99_ms = tally.quantile_ms(0.5), tally.quantile_ms(0.99)
            return Round(outcome, per_s, per_s, p50_ms, p99_ms, cpu_us)
        told = asyncio.run(_fetch(self.environ, DECIDED, began))
        p50_ms, p99_ms = told["quantiles_ms"]
        return Round(outcome, per_s, told["number"] / told["seconds"], p50_ms, p99_ms, cpu_us)


def _until_decided(environ: Mapping[str, str]) -> None:
    give_up_at = time.monotonic() + ALL_DECIDED_WITHIN_S
    waits = "SELECT EXISTS (SELECT FROM order_requests WHERE state = 'waiting') AS waits"
    while asyncio.run(_fetch(environ, waits))["waits"]:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"Requests still wait after {ALL_DECIDED_WITHIN_S} s.")
        time.sleep(0.1)


async def _fetch(environ: Mapping[str, str], statement: str, *args: object) -> Any:
    connection = await asyncpg.connect(
        environ["DATABASE_URL"], server_settings={"search_path": "orders"}
    )
    try:
        return await connection.fetchrow(statement, *args)
    finally:
        await connection.close()


def _row(mode: str, load: str, rounds: list[Round]) -> list[str]:
    tallies = [one.outcome.tallies[mode] for one in rounds]
    return [
        mode,
        load,
        f"{median(one.accepted for one in rounds):,.0f}",
        f"{median(one.completed for one in rounds):,.0f}",
        f"{sum(tally.statuses[503] for tally in tallies):,}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.1f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.1f}",
        f"{median(one.p50_ms for one in rounds):.1f}",
        f"{median(one.p99_ms for one in rounds):.1f}",
        *(
            f"{median(one.cpu_us[process] for one in rounds):.0f}"
            for process in ("worker", "jobs", "postgres")
        ),
    ]


def _compared(found: Found) -> list[Target]:
    def told(load: str, what: str) -> str:
        middle = {mode: median(getattr(one, what) for one in found[mode, load]) for mode in PATHS}
        return f"{middle[ASYNC]:,.0f} and {middle[SYNC]:,.0f}"

    return [
        Target(f"{what}/s asynchronous and synchronous, {load}", "-", told(load, what), None)
        for load in LOADS
        for what in ("accepted", "completed")
    ]
