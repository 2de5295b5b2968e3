"""Who am I: the warm `GET /api/v1/users/me` of one worker.

Claim: a caller who was here before is answered from memory, so that a route with authentication,
authorisation, telemetry and immediate revocation costs little more than a constant.
Target: 10,000 requests/s on one core; at 1,000 requests/s an average below 30 ms, p95 below 80,
p99 below 150, errors below 0.5 %.
What bounds it: one core's Python. uvicorn and httptools take most of a constant's time already.

Beside it, in random order in every round and on the same uvicorn, core, bytes and connections: a
constant as raw ASGI, as a Starlette route and as a FastAPI route; fastapi-users with its database
strategy on the same PostgreSQL; and a second Holdfast worker, whose difference from the first is
noise. Closed loop: the latencies are those of a saturated server, and only the last row is a
service level (open loop).
"""

import asyncio
import http.client
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import mean, median

import asyncpg

from lab.identity.people import people
from lab.load import Outcome, Stream, get
from lab.result import Lab, Ratio, Result, Target, noise, others
from lab.servers import HOST, ROOT, Served, application, worker

PATH = "/api/v1/users/me"
SESSIONS, CONNECTIONS = 512, 32
ROUNDS, ROUND_S = 5, 3.0
STAGING_RATE, STAGING_S = 1000.0, 30.0
WANTED_RATE = 10_000
OURS, AGAIN = "Holdfast", "Holdfast again"
PEER = "fastapi-users, database strategy"
RAW = "constant, raw ASGI"
STREAM = "users/me"
PEER_VENV = ROOT / ".venv-lab"
PEER_LOCK = ROOT / "lab" / "requirements.lock"


@dataclass(frozen=True)
class Variant:
    name: str
    served: Served
    stream: Stream


def measure(lab: Lab) -> Result:
    install_peer(lab)
    with lab.stack.database() as environ, _variants(lab, environ) as variants:
        rounds = _rounds(lab, variants)
        staging = _staging(lab, variants[0])
    everything = [*(outcome for outcomes in rounds.values() for outcome in outcomes), staging]
    rates = {name: [each.tallies[STREAM].rate for each in rounds[name]] for name in rounds}
    return Result(
        columns=(
            *("variant", "requests/s", "to raw ASGI", "CPU us", "PostgreSQL CPU us"),
            *("p50 ms", "p99 ms", "failures"),
        ),
        rows=[_row(name, rounds[name], Ratio.of(rates[name], rates[RAW])) for name in rounds]
        + [_staging_row(staging)],
        targets=_targets(rates, staging),
        others=others(everything),
        notes=[
            f"{CONNECTIONS} connections, {SESSIONS} sessions, {ROUNDS} rounds of {ROUND_S:.0f} s.",
            f"A/A: {AGAIN} to {OURS} {Ratio.of(rates[AGAIN], rates[OURS])}.",
            _generator_note(rounds[RAW]),
            noise(everything),
        ],
        raw={
            "rounds": {name: [each.summary() for each in rounds[name]] for name in rounds},
            "staging": staging.summary(),
        },
    )


def install_peer(lab: Lab) -> None:
    """fastapi-users in an environment of its own, so that Holdfast's stays as it is locked."""
    done = PEER_VENV / "ready"
    if done.exists() and done.stat().st_mtime >= PEER_LOCK.stat().st_mtime:
        return
    lab.say(f"installing {PEER} in {PEER_VENV.name}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER_VENV)], check=True)
    pip = (str(PEER_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps")
    subprocess.run([*pip, "--require-hashes", "-r", str(PEER_LOCK)], check=True)
    done.touch()


@contextmanager
def _variants(lab: Lab, environ: Mapping[str, str]) -> Iterator[list[Variant]]:
    lab.say(f"making {SESSIONS} sessions, starting servers")
    tokens = [person.access for person in people(environ, SESSIONS)]
    with ExitStack() as started:
        ours = started.enter_context(worker(environ))
        again = started.enter_context(worker(environ))
        constant = {"LAB_BODY": _body(ours.port, tokens[0])}
        python = PEER_VENV / "bin" / "python"
        peer = started.enter_context(
            application("lab.peers.fastapi_users_app:app", environ, python, ready="/openapi.json")
        )
        constants = {
            name: started.enter_context(
                application(f"lab.peers.constants:{app}", constant, ready=PATH)
            )
            for name, app in (
                (RAW, "raw"),
                ("constant, Starlette", "starlette"),
                ("constant, FastAPI", "fastapi"),
            )
        }
        peer_tokens = asyncio.run(_sign_in_to_peer(environ["DATABASE_URL"]))
        yield [
            Variant(OURS, ours, _stream(ours.port, tokens)),
            Variant(AGAIN, again, _stream(again.port, tokens)),
            *(Variant(n, each, _stream(each.port, tokens)) for n, each in constants.items()),
            Variant(PEER, peer, _stream(peer.port, peer_tokens, "/users/me")),
        ]


def _stream(port: int, tokens: list[str], path: str = PATH) -> Stream:
    requests = [get(path, token) for token in tokens]
    return Stream(STREAM, port, [requests[at::CONNECTIONS] for at in range(CONNECTIONS)])


def _body(port: int, token: str) -> str:
    asked = http.client.HTTPConnection(HOST, port)
    asked.request("GET", PATH, headers={"Authorization": f"Bearer {token}"})
    return asked.getresponse().read().decode()


async def _sign_in_to_peer(url: str) -> list[str]:
    """As many people with a token each, put into its tables as it would have put them."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            """INSERT INTO "user" (id, email, hashed_password, is_active, is_superuser, is_verified)
            SELECT gen_random_uuid(), 'person' || n || '@example.com', 'none', true, false, true
            FROM generate_series(1, $1) n""",
            SESSIONS,
        )
        rows = await connection.fetch(
            """INSERT INTO accesstoken (token, created_at, user_id)
            SELECT encode(sha256(id::text::bytea), 'hex')::varchar(43), now(), id FROM "user"
            RETURNING token"""
        )
        return [row["token"] for row in rows]
    finally:
        await connection.close()


def _rounds(lab: Lab, variants: list[Variant]) -> dict[str, list[Outcome]]:
    shuffled = random.Random(1)
    found: dict[str, list[Outcome]] = defaultdict(list, {each.name: [] for each in variants})
    for variant in variants:
        lab.load.fire(variant.stream, seconds=0.5)  # every session is warm from here on
    for number in range(ROUNDS):
        for variant in shuffled.sample(variants, len(variants)):
            watched = {"server": variant.served.pid, **lab.stack.watched}
            outcome = lab.load.fire(variant.stream, seconds=ROUND_S, watched=watched)
            found[variant.name].append(outcome)
            rate = outcome.tallies[STREAM].rate
            lab.say(f"round {number + 1}/{ROUNDS}  {variant.name}: {rate:,.0f}/s")
    return dict(found)


def _staging(lab: Lab, variant: Variant) -> Outcome:
    stream = Stream(STREAM, variant.stream.port, variant.stream.connections, rate=STAGING_RATE)
    lab.say(f"{STAGING_RATE:,.0f} requests/s, open loop, {STAGING_S:.0f} s")
    watched = {"server": variant.served.pid, **lab.stack.watched}
    return lab.load.fire(stream, seconds=STAGING_S, watched=watched)


def _row(name: str, outcomes: list[Outcome], ratio: Ratio) -> list[str]:
    tallies = [outcome.tallies[STREAM] for outcome in outcomes]
    return [
        name,
        f"{median(tally.rate for tally in tallies):,.0f}",
        str(ratio),
        f"{median(outcome.cpu_us('server', STREAM) for outcome in outcomes):.1f}",
        f"{median(outcome.cpu_us('postgres', STREAM) for outcome in outcomes):.1f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.2f}",
        f"{median(tally.quantile_ms(0.99) for tally in tallies):.2f}",
        str(sum(tally.failures for tally in tallies)),
    ]


def _staging_row(outcome: Outcome) -> list[str]:
    tally = outcome.tallies[STREAM]
    return [
        f"Holdfast at {STAGING_RATE:,.0f}/s, open loop",
        f"{tally.rate:,.0f}",
        "",
        f"{outcome.cpu_us('server', STREAM):.1f}",
        f"{outcome.cpu_us('postgres', STREAM):.1f}",
        f"{tally.quantile_ms(0.5):.2f}",
        f"{tally.quantile_ms(0.99):.2f}",
        str(tally.failures),
    ]


def _targets(rates: Mapping[str, list[float]], staging: Outcome) -> list[Target]:
    rate = median(rates[OURS])
    tally = staging.tallies[STREAM]
    average_ms = mean(tally.latencies) * 1000
    p95_ms, p99_ms = tally.quantile_ms(0.95), tally.quantile_ms(0.99)
    errors = 100 * tally.failures / tally.answered
    return [
        Target(
            "warm users/me, one worker on one core",
            f"{WANTED_RATE:,}/s",
            f"{rate:,.0f}/s",
            rate >= WANTED_RATE,
        ),
        Target(
            "service level at 1,000 requests/s: average, p95, p99, errors",
            "30 ms, 80 ms, 150 ms, 0.5 %",
            f"{average_ms:.2f} ms, {p95_ms:.2f} ms, {p99_ms:.2f} ms, {errors:.2f} %",
            average_ms < 30 and p95_ms < 80 and p99_ms < 150 and errors < 0.5,  # noqa: PLR2004
        ),
        Target(
            f"requests/s, times those of {PEER}",
            "more than 1",
            str(Ratio.of(rates[OURS], rates[PEER])),
            min(rates[OURS]) > max(rates[PEER]),
        ),
        Target(
            "requests/s, times those of a constant FastAPI route",
            "",
            str(Ratio.of(rates[OURS], rates["constant, FastAPI"])),
            None,
        ),
    ]


def _generator_note(fastest: list[Outcome]) -> str:
    cpu_us = median(
        outcome.use.load_cpu_s / outcome.tallies[STREAM].answered * 1e6 for outcome in fastest
    )
    busy = median(outcome.use.load_cpu_s / outcome.use.seconds for outcome in fastest)
    return (
        f"The generator spends {cpu_us:.1f} us a request, so {1e6 / cpu_us:,.0f}/s would be its own"
        f" limit; at the fastest variant its core was {100 * busy:.0f} % busy."
    )
