"""The door, where the apps are in its own process: what passing through it costs a hot route.

Claim: routing by the table, ids, limits, the token, deadlines, compression and early refusal cost a
few microseconds when nothing has to be sent anywhere for them.
Target: less than 10 % of a hot route's throughput is lost.
What bounds it: Python. Most of the door's time is one object a request, two calls for the answer and
three look-ups for the limits. A route of 24 us cannot hide 6; the quicker the server beneath both
became, the greater the door's share: the list did 35,000/s without it and 29,000 with it, before heads
and bodies left together.

Two hot routes: the list of open deals, and orders of signed-in customers for one deal. In random order
in every round and on the same core: the door with limits that count and refuse nobody, the door with
limits off, the same applications without the door, and these once more, whose difference is noise.
"""

import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import UUID

from holdfast.gateway.table import FILE
from lab.deals.deal_list import PATH
from lab.deals.sale import make_offer, orders, prepare
from lab.deals.shelf import fill
from lab.identity.people import people
from lab.load import Outcome, Stream, get
from lab.machine import CORES
from lab.result import Lab, Ratio, Result, Target, noise, others
from lab.servers import HOST, Served, module, worker

CLIENTS = 64
PRODUCTS, OPEN_DEALS = 1_000, 50
ROUNDS, ROUND_S = 6, 2.5
STOCK = 10_000_000
ENOUGH = 32_000  # orders/s that requests are prepared for
WANTED_SHARE = 0.9
DOOR, OFF, BARE, AGAIN = "door", "door, limits off", "no door", "no door again"
LISTS, PLACING = ROUTES = "list of deals", "orders"
ROOMY = "1000000/s"


@dataclass(frozen=True)
class Case:
    route: str
    variant: str


Found = Mapping[Case, list[Outcome]]


def measure(lab: Lab) -> Result:
    with _house(lab) as (environ, tokens), _variants(environ) as variants:
        _sell_few(lab, variants, tokens, make_offer(environ, STOCK))
        offers = {name: make_offer(environ, STOCK) for name in variants}
        found = _rounds(lab, variants, tokens, offers)
    everything = [outcome for outcomes in found.values() for outcome in outcomes]
    return Result(
        columns=(
            *("route", "variant", "requests/s", "to no door"),
            *("CPU us", "p50 ms", "p99 ms", "failures"),
        ),
        rows=[_row(case, found) for case in found],
        targets=[
            Target(
                f"{route} through the door, times those without it",
                str(WANTED_SHARE),
                str(_share(Case(route, DOOR), found)),
                _share(Case(route, DOOR), found).middle >= WANTED_SHARE,
            )
            for route in ROUTES
        ],
        others=others(everything),
        notes=[
            f"{CLIENTS} connections, {ROUNDS} rounds of {ROUND_S} s, two cores for everything.",
            noise(everything),
        ],
        raw={
            f"{case.route}, {case.variant}": [each.summary() for each in outcomes]
            for case, outcomes in found.items()
        },
    )


@contextmanager
def _house(lab: Lab) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Everything in one database, and customers with tokens of a real identity."""
    with lab.stack.database("identity", "catalog", "orders") as environ, lab.stack.spread():
        lab.say(f"making {CLIENTS} customers")
        tokens = [person.access for person in people(environ, CLIENTS)]
        prepare(environ)
        fill(environ, PRODUCTS, OPEN_DEALS)
        with worker(environ) as identity:
            yield {**environ, "HOLDFAST_IDENTITY_URL": f"http://{HOST}:{identity.port}"}, tokens


@contextmanager
def _variants(environ: Mapping[str, str]) -> Iterator[dict[str, Served]]:
    with ExitStack() as started:
        folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
        counting = {"HOLDFAST_LIMITS": "on", "HOLDFAST_GATEWAY_TABLE": str(_roomy_table(folder))}
        bare = "lab.peers.no_door"
        yield {
            DOOR: started.enter_context(worker({**environ, **counting}, CORES, app="gateway")),
            OFF: started.enter_context(worker(environ, CORES, app="gateway")),
            BARE: started.enter_context(module(bare, environ, CORES)),
            AGAIN: started.enter_context(module(bare, environ, CORES)),
        }


def _roomy_table(folder: Path) -> Path:
    """The house's own table; all the load comes from one address, and is to be counted, not refused."""
    table = FILE.read_text(encoding="utf-8")
    for limit in ("10000/s ip", "1000/s user"):
        table = table.replace(limit, f"{ROOMY} {limit.split()[1]}")
    file = folder / FILE.name
    file.write_text(table, encoding="utf-8")
    return file


def _sell_few(lab: Lab, variants: Mapping[str, Served], tokens: list[str], offer_id: UUID) -> None:
    """So that no worker plans its statements for tables that are empty."""
    for name, served in variants.items():
        stream = Stream(name, served.port, orders(tokens, offer_id, 20), most=10 * CLIENTS)
        lab.load.fire(stream, seconds=5, warm_s=0)


def _rounds(
    lab: Lab, variants: Mapping[str, Served], tokens: list[str], offers: Mapping[str, UUID]
) -> Found:
    shuffled = random.Random(1)
    cases = [Case(route, variant) for route in ROUTES for variant in variants]
    found: dict[Case, list[Outcome]] = defaultdict(list, {case: [] for case in cases})
    each = int(ENOUGH * (ROUND_S + 1) / CLIENTS)
    for number in range(ROUNDS):
        for case in shuffled.sample(cases, len(cases)):
            asking = (
                [[get(PATH)]] * CLIENTS
                if case.route == LISTS
                else orders(tokens, offers[case.variant], each)
            )
            served = variants[case.variant]
            outcome = lab.load.fire(
                Stream(case.variant, served.port, asking),
                seconds=ROUND_S,
                watched={"server": served.pid},
            )
            found[case].append(outcome)
            rate = outcome.tallies[case.variant].rate
            lab.say(f"round {number + 1}/{ROUNDS}  {case.route}, {case.variant}: {rate:,.0f}/s")
    return found


def _row(case: Case, found: Found) -> list[str]:
    outcomes = found[case]
    tallies = [outcome.tallies[case.variant] for outcome in outcomes]
    return [
        case.route,
        case.variant,
        f"{median(tally.rate for tally in tallies):,.0f}",
        str(_share(case, found)),
        f"{median(outcome.cpu_us('server', case.variant) for outcome in outcomes):.1f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.1f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.1f}",
        str(sum(tally.failures for tally in tallies)),
    ]


def _share(case: Case, found: Found) -> Ratio:
    """Of the rate without a door, round by round."""
    rates = [
        [outcome.tallies[each.variant].rate for outcome in found[each]]
        for each in (case, Case(case.route, BARE))
    ]
    return Ratio.of(*rates)
