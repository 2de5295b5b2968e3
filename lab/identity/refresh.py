"""Refreshing: each connection lives on its own chain of tokens, every one used once.

Claim: rotation with reuse detection is one compare-and-swap, merged over all callers who wait at
the same moment, so its cost falls as load grows.
Target: ahead of Keycloak, which publishes 120 refreshes/s for each vCPU (its sizing guide; the
database is counted apart there, so both sums are shown here).
What bounds it: on one core, the worker's routing, validation and signature, and PostgreSQL's two
rows and their commit, which is awaited on the disk.
"""

import json
import random
from contextlib import ExitStack
from statistics import median

import msgspec

from lab.identity.people import people
from lab.load import Outcome, Stream, post
from lab.result import Lab, Result, Target, noise, others
from lab.servers import Served, worker

PATH = "/api/v1/auth/refresh"
ROUNDS, ROUND_S = 5, 4.0
CONNECTIONS = (1, 16, 64)
RESIDENTS = 5_000  # whose tokens are there, and not used
KEYCLOAK_PER_S = 120


class Tokens(msgspec.Struct):
    refresh_token: str


class Answer(msgspec.Struct):
    data: Tokens


def measure(lab: Lab) -> Result:
    found: dict[int, list[Outcome]] = {connections: [] for connections in CONNECTIONS}
    shuffled = random.Random(1)
    with lab.stack.database() as environ, ExitStack() as started:
        lab.say(f"making {RESIDENTS:,} sessions, starting the worker")
        people(environ, RESIDENTS)
        served = started.enter_context(worker(environ))
        for number in range(ROUNDS):
            for connections in shuffled.sample(CONNECTIONS, len(CONNECTIONS)):
                # Families of their own: a chain's last answer is not waited for at a round's end.
                tokens = [person.refresh for person in people(environ, connections)]
                outcome = _round(lab, served, tokens)
                found[connections].append(outcome)
                rate = outcome.tallies["refresh"].rate
                lab.say(f"round {number + 1}/{ROUNDS}  {connections} connections: {rate:,.0f}/s")
    return _result(found)


def next_refresh(body: bytes) -> bytes:
    return ask(msgspec.json.decode(body, type=Answer).data.refresh_token)


def ask(refresh_token: str) -> bytes:
    return post(PATH, json.dumps({"refresh_token": refresh_token}).encode())


def _round(lab: Lab, served: Served, tokens: list[str]) -> Outcome:
    stream = Stream("refresh", served.port, [[ask(token)] for token in tokens], follow=next_refresh)
    watched = {"worker": served.pid, **lab.stack.watched}
    return lab.load.fire(stream, seconds=ROUND_S, watched=watched)


def _result(found: dict[int, list[Outcome]]) -> Result:
    most = found[CONNECTIONS[-1]]
    worker_us = median(outcome.cpu_us("worker", "refresh") for outcome in most)
    all_us = median(_all_us(outcome) for outcome in most)
    everything = [outcome for outcomes in found.values() for outcome in outcomes]
    return Result(
        columns=(
            *("connections", "refreshes/s", "worker CPU us", "PostgreSQL CPU us"),
            *("p50 ms", "p99 ms", "failures"),
        ),
        rows=[_row(connections, outcomes) for connections, outcomes in found.items()],
        targets=[
            Target(
                "refreshes for each second of a core, the worker's CPU alone",
                f"> {KEYCLOAK_PER_S} (Keycloak, published)",
                f"{1e6 / worker_us:,.0f}",
                1e6 / worker_us > KEYCLOAK_PER_S,
            ),
            Target(
                "the same, with PostgreSQL's and Valkey's CPU added",
                f"> {KEYCLOAK_PER_S}",
                f"{1e6 / all_us:,.0f}",
                1e6 / all_us > KEYCLOAK_PER_S,
            ),
        ],
        others=others(everything),
        notes=[
            (
                "Worker, PostgreSQL and Valkey share one core; the generator has the other."
                f" Closed loop, {ROUNDS} rounds of {ROUND_S:.0f} s; durable commits."
            ),
            "Keycloak's figure is its own sizing guide's; not measured here.",
            noise(everything),
        ],
        raw={str(each): [outcome.summary() for outcome in found[each]] for each in found},
    )


def _all_us(outcome: Outcome) -> float:
    return sum(outcome.cpu_us(name, "refresh") for name in outcome.use.cpu_s)


def _row(connections: int, outcomes: list[Outcome]) -> list[str]:
    tallies = [outcome.tallies["refresh"] for outcome in outcomes]
    return [
        str(connections),
        f"{median(tally.rate for tally in tallies):,.0f}",
        f"{median(outcome.cpu_us('worker', 'refresh') for outcome in outcomes):.0f}",
        f"{median(outcome.cpu_us('postgres', 'refresh') for outcome in outcomes):.0f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.2f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.2f}",
        str(sum(tally.failures for tally in tallies)),
    ]
