"""Too late: what the many cost who come when nothing is left.

Claim: a sale for a hundred thousand is a hundred orders and the rest refusals, so refusals are answered
from a worker's memory; the database is asked four times a second whether anything came back.
Target: 15,000 answers/s a worker.
What bounds it: one core's Python; the token, the body and the key are checked as for any order.

Beside it, in random order in every round and on the same core: a constant of as many bytes as raw ASGI,
and a second worker, whose difference from the first is noise.
"""

import http.client
import random
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from uuid import UUID, uuid4

import msgspec

from lab.deals.sale import ORDERS, customers, make_offer, orders
from lab.load import Outcome, Stream
from lab.machine import SERVER_CORE
from lab.result import Lab, Ratio, Result, Target, noise, others
from lab.servers import HOST, Served, application, worker

CLIENTS, EACH = 64, 50
ROUNDS, ROUND_S = 5, 2.5
WANTED_RATE = 15_000
OURS, AGAIN, CONSTANT = "sold out", "sold out again", "constant, raw ASGI"
CONFLICT = 409


def measure(lab: Lab) -> Result:
    with customers(lab, CLIENTS) as (environ, tokens), ExitStack() as started:
        offer_id = make_offer(environ, 0)
        ours, again = (
            started.enter_context(worker(environ, (SERVER_CORE,), app="orders")) for _ in range(2)
        )
        constant = started.enter_context(
            application(
                "lab.peers.constants:raw", {"LAB_BODY": _refusal(ours, tokens[0], offer_id)}
            )
        )
        asking = orders(tokens, offer_id, EACH)
        streams = {
            name: (served, Stream(name, served.port, asking))
            for name, served in ((OURS, ours), (AGAIN, again), (CONSTANT, constant))
        }
        found = _rounds(lab, streams)
    everything = [outcome for outcomes in found.values() for outcome in outcomes]
    rates = {name: [each.tallies[name].rate for each in found[name]] for name in found}
    rate = median(rates[OURS])
    return Result(
        columns=("variant", "answers/s", "to constant", "CPU us", "p50 ms", "p99 ms", "409s"),
        rows=[_row(name, found, Ratio.of(rates[name], rates[CONSTANT])) for name in found],
        targets=[
            Target(
                "sold-out answers, one worker on one core",
                f"{WANTED_RATE:,}/s",
                f"{rate:,.0f}/s",
                rate >= WANTED_RATE,
            ),
        ],
        others=others(everything),
        notes=[
            f"{CLIENTS} clients, {ROUNDS} rounds of {ROUND_S} s.",
            f"A/A: {AGAIN} to {OURS} {Ratio.of(rates[AGAIN], rates[OURS])}.",
            noise(everything),
        ],
        raw={name: [each.summary() for each in outcomes] for name, outcomes in found.items()},
    )


def _refusal(served: Served, token: str, offer_id: UUID) -> str:
    asked = http.client.HTTPConnection(HOST, served.port)
    body = msgspec.json.encode({"items": [{"offer_id": offer_id}]})
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
    asked.request("POST", ORDERS, body, headers)
    return asked.getresponse().read().decode()


def _rounds(lab: Lab, streams: Mapping[str, tuple[Served, Stream]]) -> dict[str, list[Outcome]]:
    shuffled = random.Random(1)
    found: dict[str, list[Outcome]] = defaultdict(list, {name: [] for name in streams})
    for number in range(ROUNDS):
        for name in shuffled.sample(list(streams), len(streams)):
            served, stream = streams[name]
            outcome = lab.load.fire(stream, seconds=ROUND_S, watched={"server": served.pid})
            found[name].append(outcome)
            lab.say(f"round {number + 1}/{ROUNDS}  {name}: {outcome.tallies[name].rate:,.0f}/s")
    return dict(found)


def _row(name: str, found: Mapping[str, list[Outcome]], ratio: Ratio) -> list[str]:
    tallies = [outcome.tallies[name] for outcome in found[name]]
    return [
        name,
        f"{median(tally.rate for tally in tallies):,.0f}",
        str(ratio),
        f"{median(outcome.cpu_us('server', name) for outcome in found[name]):.1f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.2f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.2f}",
        str(sum(tally.statuses[CONFLICT] for tally in tallies)),
    ]
