"""Signing in: how much of what the hash leaves possible one worker delivers, and who suffers.

Claim: a password's hash is the whole cost of a login, and light requests do not feel it.
Target: at least 90 % of the logins/s that the bare Argon2id check (19 MiB, t=2, p=1) reaches with
as many threads on the same cores; meanwhile p99 of `users/me` below 10 ms.
What bounds it: about 20 ms of CPU a hash, which nothing in the service can make less. The rest of a
login is the worker's and PostgreSQL's CPU for five round trips and four commits (the attempt is
taken and given back, the session made, the history written), on cores that the hashes need too.

The worker may use every core, so its hashing threads share one with the load generator, which is
light here; PostgreSQL is on the servers' core, as always. The bare hash has the same cores to
itself. `users/me` comes in an open loop, once beside the logins and once alone.
"""

import json
import random
import subprocess
import sys
from statistics import median

from holdfast.apps.identity.options import Options
from lab.identity.people import PASSWORD, people
from lab.load import Outcome, Stream, get, post, quantile
from lab.machine import CORES, on
from lab.result import Lab, Ratio, Result, Target, noise, others
from lab.servers import ROOT, Served, worker

ROUNDS, ROUND_S, ALONE_S = 5, 8.0, 6.0
LOGIN_CONNECTIONS, LIGHT_CONNECTIONS, LIGHT_RATE = 16, 16, 150.0
WANTED_SHARE, WANTED_P99_MS = 0.9, 10.0


def measure(lab: Lab) -> Result:
    threads = Options().hash_threads
    bare: list[float] = []
    beside: list[Outcome] = []
    alone: list[Outcome] = []
    with lab.stack.database() as environ:
        lab.say("making accounts, starting the worker")
        everyone = people(environ, LOGIN_CONNECTIONS)
        with worker(environ, cores=CORES) as served:
            login = Stream(
                "login",
                served.port,
                [
                    [post("/api/v1/auth/login", json.dumps(sent).encode())]
                    for person in everyone
                    for sent in [{"email": person.email, "password": PASSWORD}]
                ],
            )
            requests = [get("/api/v1/users/me", person.access) for person in everyone]
            light = Stream("users/me", served.port, [requests] * LIGHT_CONNECTIONS, LIGHT_RATE)

            def measure_bare() -> None:
                bare.append(_bare(threads))

            def measure_beside() -> None:
                beside.append(_fire(lab, served, login, light, seconds=ROUND_S))

            def measure_alone() -> None:
                alone.append(_fire(lab, served, light, seconds=ALONE_S))

            shuffled = random.Random(1)
            for number in range(ROUNDS):
                for step in shuffled.sample([measure_bare, measure_beside, measure_alone], 3):
                    step()
                lab.say(
                    f"round {number + 1}/{ROUNDS}  bare {bare[-1]:.1f}/s,"
                    f" logins {beside[-1].tallies['login'].rate:.1f}/s,"
                    f" users/me p99 {beside[-1].tallies['users/me'].quantile_ms(0.99):.1f} ms"
                )
    return _result(threads, bare, beside, alone)


def _bare(threads: int) -> float:
    command = [sys.executable, "-m", "lab.peers.bare_hash", str(threads), str(ROUND_S)]
    with on(*CORES):
        told = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return float(told.stdout)


def _fire(lab: Lab, served: Served, *streams: Stream, seconds: float) -> Outcome:
    watched = {"worker": served.pid, **lab.stack.watched}
    return lab.load.fire(*streams, seconds=seconds, watched=watched)


def _result(threads: int, bare: list[float], beside: list[Outcome], alone: list[Outcome]) -> Result:
    rates = [outcome.tallies["login"].rate for outcome in beside]
    share = Ratio.of(rates, bare)
    p99_ms = _pooled_p99_ms(beside)
    return Result(
        columns=("what", "a second", "p50 ms", "p99 ms", "failures"),
        rows=[
            [f"bare hash, {threads} threads", f"{median(bare):.1f}", "", "", ""],
            _row("logins", beside, "login"),
            _row("users/me beside them", beside, "users/me"),
            _row("users/me alone", alone, "users/me"),
        ],
        targets=[
            Target(
                "logins/s, as a share of the bare hash",
                f"{WANTED_SHARE}",
                str(share),
                share.middle >= WANTED_SHARE,
            ),
            Target(
                "p99 of users/me beside the logins, all rounds together",
                f"< {WANTED_P99_MS:.0f} ms",
                f"{p99_ms:.1f} ms",
                p99_ms < WANTED_P99_MS,
            ),
            Target(
                "logins for each core and second (Keycloak publishes 15 for each vCPU)",
                "",
                f"{median(rates) / len(CORES):.0f}",
                None,
            ),
        ],
        others=others([*beside, *alone]),
        notes=[
            (
                f"Worker on {len(CORES)} cores with {threads} hashing threads; {LOGIN_CONNECTIONS} login"
                f" connections; users/me at {LIGHT_RATE:.0f}/s, open loop; {ROUNDS} rounds of"
                f" {ROUND_S:.0f} s."
            ),
            "Keycloak's figures are its own sizing guide's, with its own hash; not measured here.",
            (
                f"The generator used {100 * median(o.use.load_cpu_s / o.use.seconds for o in beside):.1f}"
                " % of a core that the hashing threads share with it."
            ),
            noise([*beside, *alone]),
        ],
        raw={
            "bare_hashes_per_s": bare,
            "beside": [outcome.summary() for outcome in beside],
            "alone": [outcome.summary() for outcome in alone],
        },
    )


def _pooled_p99_ms(outcomes: list[Outcome]) -> float:
    pooled = [s for outcome in outcomes for s in outcome.tallies["users/me"].latencies]
    return 1000 * quantile(pooled, 0.99)


def _row(what: str, outcomes: list[Outcome], stream: str) -> list[str]:
    tallies = [outcome.tallies[stream] for outcome in outcomes]
    return [
        what,
        f"{median(tally.rate for tally in tallies):.1f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.2f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.2f}",
        str(sum(tally.failures for tally in tallies)),
    ]
