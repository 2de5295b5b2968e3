"""This tree beside the first release of identity: what its features have cost since.

Claim: second factors, personal tokens, pages and other services' sign-in cost the old routes nothing.
Target: no fewer than 95 in 100 of the earlier requests/s, for `users/me`, refresh and login.
What bounds it: noise; two workers of the same code differ by a few in a hundred (see `users_me`).

Both are worker processes on the same core, database and Valkey, asked in random order in every
round; the earlier one is unpacked from the repository's history and runs on the newest schema, as it
does in a rolling update.
"""

import json
import random
from collections import defaultdict
from contextlib import ExitStack
from statistics import median

from lab.identity.people import PASSWORD, Person, people
from lab.identity.refresh import ask, next_refresh
from lab.load import Outcome, Stream, get, post
from lab.result import Lab, Ratio, Result, Target, noise, others
from lab.servers import ROOT, Served, earlier_tree, worker

EARLIER = "713371b"  # the first release
ROUNDS, ROUND_S = 7, 4.0
CONNECTIONS = {"users/me": 32, "refresh": 64, "login": 16}
WANTED_SHARE = 0.95
NOW, BEFORE = "now", f"earlier ({EARLIER})"

Found = dict[tuple[str, str], list[Outcome]]


def measure(lab: Lab) -> Result:
    found: Found = defaultdict(list)
    shuffled = random.Random(1)
    with lab.stack.database() as environ, earlier_tree(EARLIER) as tree, ExitStack() as started:
        lab.say("making people, starting both workers")
        everyone = people(environ, max(CONNECTIONS.values()))
        variants = [
            (name, started.enter_context(worker(environ, tree=where)))
            for name, where in ((NOW, ROOT), (BEFORE, tree))
        ]
        for _, served in variants:
            _fire(lab, served, "users/me", everyone, seconds=1.0)
        for number in range(ROUNDS):
            for what, connections in CONNECTIONS.items():
                for name, served in shuffled.sample(variants, len(variants)):
                    asking = people(environ, connections) if what == "refresh" else everyone
                    found[what, name].append(_fire(lab, served, what, asking, seconds=ROUND_S))
            rates = ", ".join(f"{w} {_ratio(found, w)}" for w in CONNECTIONS)
            lab.say(f"round {number + 1}/{ROUNDS}  {rates}")
    return _result(found)


def _fire(
    lab: Lab, served: Served, what: str, everyone: list[Person], *, seconds: float
) -> Outcome:
    asking = everyone[: CONNECTIONS[what]]
    match what:
        case "users/me":
            requests = [[get("/api/v1/users/me", person.access)] for person in asking]
            stream = Stream(what, served.port, requests)
        case "refresh":
            requests = [[ask(person.refresh)] for person in asking]
            stream = Stream(what, served.port, requests, follow=next_refresh)
        case _:
            sent = [{"email": person.email, "password": PASSWORD} for person in asking]
            requests = [[post("/api/v1/auth/login", json.dumps(body).encode())] for body in sent]
            stream = Stream(what, served.port, requests)
    watched = {"worker": served.pid, **lab.stack.watched}
    return lab.load.fire(stream, seconds=seconds, watched=watched)


def _ratio(found: Found, what: str) -> Ratio:
    now, before = (
        [each.tallies[what].rate for each in found[what, name]] for name in (NOW, BEFORE)
    )
    return Ratio.of(now, before)


def _result(found: Found) -> Result:
    everything = [outcome for outcomes in found.values() for outcome in outcomes]
    ratios = {what: _ratio(found, what) for what in CONNECTIONS}
    return Result(
        columns=("what", "a second", "worker CPU us", "PostgreSQL CPU us", "p99 ms", "failures"),
        rows=[_row(f"{what}, {name}", what, found[what, name]) for what, name in found],
        targets=[
            Target(
                f"{what}: requests/s now, times those of the earlier release",
                f">= {WANTED_SHARE}",
                str(ratio),
                ratio.middle >= WANTED_SHARE,
            )
            for what, ratio in ratios.items()
        ],
        others=others(everything),
        notes=[
            f"{ROUNDS} rounds of {ROUND_S:.0f} s each, closed loop; hashing shares the servers' core.",
            noise(everything),
        ],
        raw={
            f"{what}, {name}": [each.summary() for each in outcomes]
            for (what, name), outcomes in found.items()
        },
    )


def _row(title: str, what: str, outcomes: list[Outcome]) -> list[str]:
    tallies = [outcome.tallies[what] for outcome in outcomes]
    return [
        title,
        f"{median(tally.rate for tally in tallies):,.0f}",
        f"{median(outcome.cpu_us('worker', what) for outcome in outcomes):,.0f}",
        f"{median(outcome.cpu_us('postgres', what) for outcome in outcomes):,.0f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.2f}",
        str(sum(tally.failures for tally in tallies)),
    ]
