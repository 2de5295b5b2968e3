"""Orders for one hot deal, over HTTP: merged, beside every usual way of not selling one too many.

Claim: who waits at the same moment can be served by one durable transaction, so that a single worker
sells thousands a second with a synchronous 201, exactly, on plain PostgreSQL.
Target: 8,000 orders/s a worker, p99 below 50 ms at 64 clients; 15 times the row-lock transaction.
What bounds it: Python. Of an order's CPU time the worker takes three fifths, PostgreSQL two.

All share both cores with the load: one worker, PostgreSQL, Valkey. Every variant checks the token,
keeps the key, writes the order, its item and its event, and is durable (synchronous_commit on); the
others are `lab.deals.ways`. Closed loop: latencies are those of a saturated server.
"""

import random
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from lab.deals.sale import ORDERS, customers, make_offer, orders, sold
from lab.load import Outcome, Stream
from lab.machine import CORES
from lab.result import Lab, Ratio, Result, Target, noise, others
from lab.servers import Served, application, worker

CLIENTS, MANY = 64, 1000
ROUNDS, ROUND_S = 4, 2.5
STOCK = 10_000_000
SALES, SMALL_STOCK, BUYERS = 12, 10, 100
WANTED_RATE, WANTED_P99_MS, WANTED_TIMES = 8_000, 50, 15
OURS, AGAIN = "merged", "merged again"
ROW_LOCK = "row_lock"
OTHERS = ("naive", ROW_LOCK, "conditional", "lua", "slots")
WITH_MANY = (OURS, AGAIN, ROW_LOCK, "conditional")
CREATED = 201
ENOUGH = 32_000  # orders/s that requests are prepared for


@dataclass(frozen=True)
class Variant:
    name: str
    served: Served
    path: str


Found = Mapping[tuple[str, int], list[Outcome]]


def measure(lab: Lab) -> Result:
    with customers(lab, MANY) as (environ, tokens), ExitStack() as started:
        ours, again = (
            started.enter_context(worker(environ, CORES, app="orders")) for _ in range(2)
        )
        peers = started.enter_context(
            application("lab.peers.one_by_one:app", environ, ready="/health/ready", cores=CORES)
        )
        variants = [Variant(OURS, ours, ORDERS), Variant(AGAIN, again, ORDERS)]
        variants += [Variant(name, peers, f"/{name}") for name in OTHERS]
        exact = _sell_few(lab, environ, tokens, variants)
        found = _sell_many(lab, environ, tokens, variants)
    everything = [outcome for outcomes in found.values() for outcome in outcomes]
    return Result(
        columns=(
            *("variant", "clients", "orders/s", "to row_lock", "worker CPU us"),
            *("PostgreSQL CPU us", "p50 ms", "p99 ms", "failures", "10 in stock, 100 buyers: sold"),
        ),
        rows=[_row(name, clients, found, exact) for name, clients in found],
        targets=_targets(found, exact),
        others=others(everything),
        notes=[
            f"{ROUNDS} rounds of {ROUND_S} s, {SALES} small sales of {SMALL_STOCK} to {BUYERS} buyers.",
            f"A/A: {AGAIN} to {OURS} {_ratio(found, AGAIN, OURS, CLIENTS)}.",
            noise(everything),
        ],
        raw={
            "rounds": {
                f"{name}, {clients} clients": [each.summary() for each in outcomes]
                for (name, clients), outcomes in found.items()
            },
            "sold_of_10": exact,
        },
    )


def _sell_few(
    lab: Lab, environ: Mapping[str, str], tokens: list[str], variants: list[Variant]
) -> dict[str, list[int]]:
    """How many each sells when there are ten and a hundred come at once."""
    found: dict[str, list[int]] = {}
    for variant in variants:
        found[variant.name] = []
        for _ in range(SALES):
            offer_id = make_offer(environ, SMALL_STOCK)
            asking = orders(tokens[:BUYERS], offer_id, 1, variant.path)
            stream = Stream(variant.name, variant.served.port, asking, most=BUYERS)
            lab.load.fire(stream, seconds=5, warm_s=0)
            found[variant.name].append(sold(environ, offer_id))
        lab.say(
            f"{variant.name} sold {min(found[variant.name])} to {max(found[variant.name])} of 10"
        )
    return found


def _sell_many(
    lab: Lab, environ: Mapping[str, str], tokens: list[str], variants: list[Variant]
) -> Found:
    shuffled = random.Random(1)
    found: dict[tuple[str, int], list[Outcome]] = defaultdict(list)
    offers = {variant.name: make_offer(environ, STOCK) for variant in variants}
    for number in range(ROUNDS):
        for clients in (CLIENTS, MANY):
            for variant in shuffled.sample(variants, len(variants)):
                if clients == MANY and variant.name not in WITH_MANY:
                    continue
                each = int(ENOUGH * (ROUND_S + 1) / clients)
                asking = orders(tokens[:clients], offers[variant.name], each, variant.path)
                stream = Stream(variant.name, variant.served.port, asking)
                watched = {"server": variant.served.pid, **lab.stack.watched}
                outcome = lab.load.fire(stream, seconds=ROUND_S, watched=watched)
                found[variant.name, clients].append(outcome)
                rate = _placed(outcome, variant.name)
                lab.say(f"round {number + 1}/{ROUNDS}  {variant.name}, {clients}: {rate:,.0f}/s")
    return {key: found[key] for key in sorted(found, key=lambda key: (key[1], -_rate(found, *key)))}


def _row(name: str, clients: int, found: Found, exact: Mapping[str, list[int]]) -> list[str]:
    outcomes = found[name, clients]
    tallies = [outcome.tallies[name] for outcome in outcomes]
    low, high = min(exact[name]), max(exact[name])
    return [
        name,
        str(clients),
        f"{_rate(found, name, clients):,.0f}",
        str(_ratio(found, name, ROW_LOCK, clients)),
        f"{median(outcome.cpu_us('server', name) for outcome in outcomes):.0f}",
        f"{median(outcome.cpu_us('postgres', name) for outcome in outcomes):.0f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.1f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.1f}",
        str(sum(tally.failures for tally in tallies)),
        str(low) if low == high else f"{low} to {high}",
    ]


def _rate(found: Found, name: str, clients: int) -> float:
    return median(_placed(outcome, name) for outcome in found[name, clients])


def _placed(outcome: Outcome, name: str) -> float:
    """Orders a second: a refusal is quick, and no order."""
    tally = outcome.tallies[name]
    return tally.statuses[CREATED] / tally.seconds


def _ratio(found: Found, name: str, to: str, clients: int) -> Ratio:
    rates = [[_placed(outcome, each) for outcome in found[each, clients]] for each in (name, to)]
    return Ratio.of(*rates)


def _targets(found: Found, exact: Mapping[str, list[int]]) -> list[Target]:
    rate, rate_of_many = _rate(found, OURS, CLIENTS), _rate(found, OURS, MANY)
    p99_ms = median(each.tallies[OURS].quantile_ms(0.99) for each in found[OURS, CLIENTS])
    times = _ratio(found, OURS, ROW_LOCK, CLIENTS)
    sold_always = set(exact[OURS]) | set(exact[AGAIN])
    return [
        Target(
            f"durable orders, one hot deal, {CLIENTS} clients, one worker, 2 cores with the load",
            f"{WANTED_RATE:,}/s",
            f"{rate:,.0f}/s",
            rate >= WANTED_RATE,
        ),
        Target(
            f"the same, {MANY:,} clients", f"{WANTED_RATE:,}/s", f"{rate_of_many:,.0f}/s",
            rate_of_many >= WANTED_RATE,
        ),
        Target(
            f"p99 at {CLIENTS} clients",
            f"{WANTED_P99_MS} ms",
            f"{p99_ms:.1f} ms",
            p99_ms < WANTED_P99_MS,
        ),
        Target(
            "orders/s, times those of the row-lock transaction",
            f"{WANTED_TIMES}",
            str(times),
            times.middle >= WANTED_TIMES,
        ),
        Target(
            f"sold of {SMALL_STOCK} to {BUYERS} buyers, {2 * SALES} sales",
            f"always {SMALL_STOCK}",
            ", ".join(map(str, sorted(sold_always))),
            sold_always == {SMALL_STOCK},
        ),
    ]  # fmt: skip
