"""What a turn of the loop is used for: this tree beside the last one that did not care.

Claim: a worker whose callers hear of a merged run's answers by and by, while the next run is under way,
sells more, because it listens to the database in time; and a small answer is cheaper in one piece.
Target: none was set; orders/s at 64 and 1,000 clients and lists/s, times those of the earlier tree.
What bounds it: Python. Of an order's CPU time the worker takes two thirds, PostgreSQL one.

Both are worker processes on the same cores, database and Valkey, asked in random order in every round;
the earlier one is unpacked from the repository's history. Lists share the servers' core, as in
`deal_list`; orders share both with the load, as in `place_order`.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from lab.deals.deal_list import OPEN_DEALS, PATH, PRODUCTS, USERS
from lab.deals.place_order import CLIENTS, ENOUGH, MANY, STOCK
from lab.deals.sale import customers, make_offer, orders
from lab.deals.shelf import fill
from lab.load import Outcome, Stream, get
from lab.machine import CORES
from lab.result import Lab, Ratio, Result, noise, others
from lab.servers import ROOT, Served, earlier_tree, worker

EARLIER = "f52df43"
ROUNDS, ROUND_S, WARM_S = 6, 2.5, 0.5
NOW, BEFORE = "now", f"earlier ({EARLIER})"
LISTS = f"list of deals, {USERS} users"
ORDERS = {f"orders, {clients:,} clients": clients for clients in (CLIENTS, MANY)}


Found = dict[tuple[str, str], list[Outcome]]
Ask = Callable[[str, str], list[list[bytes]]]  # what, tree -> what each connection asks


def measure(lab: Lab) -> Result:
    found: Found = defaultdict(list)
    with earlier_tree(EARLIER) as earlier:
        trees = {NOW: ROOT, BEFORE: earlier}
        _measure_lists(lab, trees, found)
        _measure_orders(lab, trees, found)
    everything = [outcome for outcomes in found.values() for outcome in outcomes]
    return Result(
        columns=(
            *("what", "tree", "a second", "to earlier", "worker CPU us", "PostgreSQL CPU us"),
            *("load CPU us", "p50 ms", "p99 ms", "failures"),
        ),
        rows=[_row(what, name, found) for what, name in found],
        targets=[],
        others=others(everything),
        notes=[f"{ROUNDS} rounds of {ROUND_S} s, closed loop.", noise(everything)],
        raw={
            f"{what}, {name}": [each.summary() for each in outcomes]
            for (what, name), outcomes in found.items()
        },
    )


def _measure_lists(lab: Lab, trees: dict[str, Path], found: Found) -> None:
    with lab.stack.database("catalog") as environ, ExitStack() as started:
        fill(environ, PRODUCTS, OPEN_DEALS)
        workers = {
            name: started.enter_context(worker(environ, tree=tree, app="catalog"))
            for name, tree in trees.items()
        }
        _rounds(lab, workers, [LISTS], lambda *_: [[get(PATH)]] * USERS, found)


def _measure_orders(lab: Lab, trees: dict[str, Path], found: Found) -> None:
    with customers(lab, MANY) as (environ, tokens), ExitStack() as started:
        workers = {
            name: started.enter_context(worker(environ, CORES, tree=tree, app="orders"))
            for name, tree in trees.items()
        }
        offers = {name: make_offer(environ, STOCK) for name in trees}

        def ask(what: str, name: str) -> list[list[bytes]]:
            clients = ORDERS[what]
            each = int(ENOUGH * (WARM_S + ROUND_S) / clients)
            return orders(tokens[:clients], offers[name], each)

        _rounds(lab, workers, list(ORDERS), ask, found)


def _rounds(lab: Lab, workers: dict[str, Served], whats: list[str], ask: Ask, found: Found) -> None:
    shuffled = random.Random(1)
    for number in range(ROUNDS):
        for what in whats:
            for name in shuffled.sample(list(workers), len(workers)):
                outcome = lab.load.fire(
                    Stream(what, workers[name].port, ask(what, name)),
                    seconds=ROUND_S,
                    warm_s=WARM_S,
                    watched={"worker": workers[name].pid, **lab.stack.watched},
                )
                found[what, name].append(outcome)
                rate = outcome.tallies[what].rate
                lab.say(f"round {number + 1}/{ROUNDS}  {what}, {name}: {rate:,.0f}/s")


def _row(what: str, name: str, found: Found) -> list[str]:
    outcomes = found[what, name]
    tallies = [outcome.tallies[what] for outcome in outcomes]
    rates, before = (
        [each.tallies[what].rate for each in found[what, one]] for one in (name, BEFORE)
    )
    return [
        what,
        name,
        f"{median(rates):,.0f}",
        str(Ratio.of(rates, before)),
        f"{median(outcome.cpu_us('worker', what) for outcome in outcomes):.1f}",
        f"{median(outcome.cpu_us('postgres', what) for outcome in outcomes):.1f}",
        f"{median(_load_us(outcome, what) for outcome in outcomes):.1f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.1f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.1f}",
        str(sum(tally.failures for tally in tallies)),
    ]


def _load_us(outcome: Outcome, what: str) -> float:
    return outcome.use.load_cpu_s / outcome.tallies[what].answered * 1e6
