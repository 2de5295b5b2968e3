"""What it costs to change a role so that the very next request knows, on every worker.

Claim: an admin's change is answered when every worker has acknowledged it; reads pay nothing.
Target: none was set for a change; the figure is the price of the promise. A worker that hangs
costs one lease (1 s), once: it is waited for until it can no longer decide by what was before.
What bounds it: one durable commit, one notification, a statement from each worker in answer, and
the looks for those who are behind.

With 1, 4 and 8 workers, idle and with `users/me` spread over them at a fixed rate, in turn: a role
is given and taken, one change after the other. All workers and both servers share one core here,
so the acknowledgements of eight workers queue for it; on a core each they would not.
"""

import http.client
import json
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter

from lab.identity.people import Person, people
from lab.load import Outcome, Stream, get, histogram, quantile
from lab.result import Lab, Result, Target, noise, others
from lab.servers import HOST, Served, worker

WORKERS = (1, 4, 8)
ROUNDS, IDLE_S, LOADED_S = 4, 1.5, 2.5
LOAD_BEGINS_S = 0.7  # its connections and its warm-up
LOAD_RATE, CONNECTIONS = 1500.0, 16
PAUSED_AMONG, PAUSES, BACK_S = 4, 3, 1.5
LONGEST_PAUSE_S = 2.0  # a lease, the allowance for clocks, and a busy machine
ROLE = "measured"
DONE, CREATED = 204, 201


@dataclass
class Found:
    """Seconds that changes took, one by one, and the load beside them."""

    idle_s: list[float] = field(default_factory=list)
    loaded_s: list[float] = field(default_factory=list)
    load: list[Outcome] = field(default_factory=list)


@dataclass
class Paused:
    """The first change beside a paused worker, and the one after it."""

    first_s: list[float] = field(default_factory=list)
    next_s: list[float] = field(default_factory=list)


class Admin:
    """Someone who may do everything, at one worker."""

    def __init__(self, served: Served, person: Person) -> None:
        self._http = http.client.HTTPConnection(HOST, served.port, timeout=30)
        self._headers = {
            "Authorization": f"Bearer {person.access}",
            "Content-Type": "application/json",
        }

    def make_role(self) -> None:
        body = json.dumps({"name": ROLE, "permissions": ["users:read"]})
        self._ask("POST", "/api/v1/admin/roles", CREATED, body)

    def give_and_take(self, person: Person) -> list[float]:
        """Two changes, and what each took."""
        path = f"/api/v1/admin/users/{person.id}/roles/{ROLE}"
        return [self._ask("PUT", path, DONE), self._ask("DELETE", path, DONE)]

    def give_and_take_for(self, seconds: float, crowd: list[Person]) -> list[float]:
        until = perf_counter() + seconds
        took_s: list[float] = []
        for person in cycle(crowd):
            if perf_counter() >= until:
                break
            took_s += self.give_and_take(person)
        return took_s

    def _ask(self, method: str, path: str, expected: int, body: str | None = None) -> float:
        began = perf_counter()
        self._http.request(method, path, body, self._headers)
        answer = self._http.getresponse()
        answer.read()
        if answer.status != expected:
            raise RuntimeError(f"{method} {path} was answered with {answer.status}.")
        return perf_counter() - began


def measure(lab: Lab) -> Result:
    found: dict[int, Found] = {}
    paused = Paused()
    with lab.stack.database() as environ, ExitStack() as started:
        admins, crowd = people(environ, 1, "admin"), people(environ, 64)
        workers: list[Served] = []
        for number in WORKERS:
            lab.say(f"with {number} workers")
            workers += [started.enter_context(worker(environ)) for _ in range(len(workers), number)]
            admin = Admin(workers[0], admins[0])
            if not found:
                admin.make_role()
            found[number] = _in_turn(lab, admin, workers, crowd)
            if number == PAUSED_AMONG:
                lab.say("one of them is paused")
                paused = _pause(admin, workers[-1], crowd)
    return _result(found, paused)


def _in_turn(lab: Lab, admin: Admin, workers: list[Served], crowd: list[Person]) -> Found:
    found = Found()
    requests = [get("/api/v1/users/me", person.access) for person in crowd]
    rate = LOAD_RATE / len(workers)
    streams = [
        Stream(f"worker {number + 1}", each.port, [requests] * CONNECTIONS, rate)
        for number, each in enumerate(workers)
    ]
    watched = {stream.name: each.pid for stream, each in zip(streams, workers, strict=True)}
    watched |= lab.stack.watched
    for _ in range(ROUNDS):
        found.idle_s += admin.give_and_take_for(IDLE_S, crowd)
        under_way = lab.load.begin(*streams, seconds=LOADED_S, watched=watched)
        time.sleep(LOAD_BEGINS_S)
        found.loaded_s += admin.give_and_take_for(LOADED_S - LOAD_BEGINS_S, crowd)
        found.load.append(under_way.result())
    return found


def _pause(admin: Admin, other: Served, crowd: list[Person]) -> Paused:
    paused = Paused()
    for _ in range(PAUSES):
        os.kill(other.pid, signal.SIGSTOP)
        first_s, next_s = admin.give_and_take(crowd[0])
        os.kill(other.pid, signal.SIGCONT)
        paused.first_s.append(first_s)
        paused.next_s.append(next_s)
        time.sleep(BACK_S)  # until it is a worker like the others again
    return paused


def _result(found: dict[int, Found], paused: Paused) -> Result:
    longest_s = max(paused.first_s)
    load = [outcome for each in found.values() for outcome in each.load]
    rows = [
        [f"{number}", how, *_row(took_s), light]
        for number, each in found.items()
        for how, took_s, light in (
            ("idle", each.idle_s, ""),
            (f"users/me at {LOAD_RATE:,.0f}/s", each.loaded_s, f"{_light_p99_ms(each.load):.1f}"),
        )
    ]
    first, following = _row(paused.first_s), _row(paused.next_s)
    rows.append([str(PAUSED_AMONG), "one paused: the first change", *first, ""])
    rows.append([str(PAUSED_AMONG), "one paused: the change after it", *following, ""])
    return Result(
        columns=("workers", "beside", "changes", "p50 ms", "p95 ms", "users/me p99 ms"),
        rows=rows,
        targets=[
            Target(
                "a change beside a paused worker, the longest",
                f"one lease (1 s), < {LONGEST_PAUSE_S:.0f} s",
                f"{longest_s:.2f} s",
                longest_s < LONGEST_PAUSE_S,
            ),
            Target(
                "a change with 8 workers, times one with 1 worker, idle, p50",
                "",
                f"{quantile(found[8].idle_s, 0.5) / quantile(found[1].idle_s, 0.5):.1f}",
                None,
            ),
        ],
        others=others(load),
        notes=[
            "All workers, PostgreSQL and Valkey on one core; one admin, one change at a time.",
            noise(load) + " (The admin's client is among the other programs.)",
        ],
        raw={
            "changes_us": {
                number: {"idle": histogram(each.idle_s), "loaded": histogram(each.loaded_s)}
                for number, each in found.items()
            },
            "paused": vars(paused),
            "load": {n: [each.summary() for each in found[n].load] for n in found},
        },
    )


def _row(took_s: list[float]) -> list[str]:
    p50, p95 = (f"{1000 * quantile(took_s, q):.2f}" for q in (0.5, 0.95))
    return [str(len(took_s)), p50, p95]


def _light_p99_ms(load: list[Outcome]) -> float:
    """Of `users/me` at all workers, in all rounds."""
    tallies = [tally for outcome in load for tally in outcome.tallies.values()]
    return 1000 * quantile([s for tally in tallies for s in tally.latencies], 0.99)
