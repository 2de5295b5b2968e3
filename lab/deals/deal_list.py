"""Everybody looks: the list of open deals, from one worker's memory.

Claim: a list that was made before is only handed out, so that it costs little more than a constant:
whole, compressed, or as the word that it has not changed.
Target: 80 % of a constant of as many bytes; p95 below 5 ms for 100 users at 5,000 requests/s.
What bounds it: one core's Python. uvicorn and httptools take most of a constant's time already.

Beside each form, in random order in every round, on the same server and core: a constant with the
same headers and as many bytes, as raw ASGI. Beside the first also that constant as a hot route,
with our frame and telemetry, and a second worker, whose difference is noise. Closed loop: the
latencies are those of a saturated server, and only the last row is a service level (open loop).
"""

import http.client
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from lab.deals.shelf import fill
from lab.load import Outcome, Stream, Tally, get
from lab.result import Lab, Ratio, Result, Target, noise, others
from lab.servers import HOST, Served, application, worker

PATH = "/api/v1/products/deals"
PRODUCTS, OPEN_DEALS = 1_000, 50
USERS = 100
ROUNDS, ROUND_S = 5, 2.5
LEVEL_RATE, LEVEL_S = 5_000.0, 10.0
WANTED_SHARE, WANTED_P95_MS = 0.8, 5.0
PLAIN, GZIP, UNCHANGED = FORMS = "plain", "gzip", "unchanged"
AGAIN, FRAMED = "plain again", "constant like plain, as a hot route"
GOOD = (200, 304)


@dataclass(frozen=True)
class Variant:
    name: str
    served: Served
    request: bytes

    def stream(self, rate: float | None = None) -> Stream:
        return Stream(self.name, self.served.port, [[self.request]] * USERS, rate=rate)


def measure(lab: Lab) -> Result:
    with lab.stack.database("catalog") as environ:
        fill(environ, PRODUCTS, OPEN_DEALS)
        with _variants(environ) as (variants, sizes):
            rounds = _rounds(lab, variants)
            lab.say(f"{LEVEL_RATE:,.0f} requests/s, open loop")
            level = lab.load.fire(
                variants[0].stream(LEVEL_RATE),
                seconds=LEVEL_S,
                watched={"server": variants[0].served.pid},
            )
    rates = {name: [each.tallies[name].rate for each in rounds[name]] for name in rounds}
    shares = {name: Ratio.of(rates[name], rates[_constant(name)]) for name in FORMS}
    everything = [*(outcome for outcomes in rounds.values() for outcome in outcomes), level]
    return Result(
        columns=(
            *("variant", "requests/s", "to its constant", "CPU us"),
            *("p50 ms", "p95 ms", "failures"),
        ),
        rows=[_row(name, name, rounds[name], shares.get(name)) for name in rounds]
        + [_row(f"plain at {LEVEL_RATE:,.0f}/s, open loop", PLAIN, [level], None)],
        targets=_targets(shares, level.tallies[PLAIN]),
        others=others(everything),
        notes=[
            f"{USERS} connections, {ROUNDS} rounds of {ROUND_S} s. A page of 20 deals has "
            + ", ".join(f"{size:,} bytes {name}" for name, size in sizes.items())
            + ".",
            f"A/A: {AGAIN} to {PLAIN} {Ratio.of(rates[AGAIN], rates[PLAIN])}.",
            noise(everything),
        ],
        raw={
            "rounds": {name: [each.summary() for each in rounds[name]] for name in rounds},
            "level": level.summary(),
        },
    )


@contextmanager
def _variants(environ: Mapping[str, str]) -> Iterator[tuple[list[Variant], dict[str, int]]]:
    """Ours in each form and the constants beside them; and how many bytes each form has."""
    with ExitStack() as started:
        ours, again = (started.enter_context(worker(environ, app="catalog")) for _ in range(2))
        tag = _answer(ours, {}).headers["ETag"] or ""
        asked = {PLAIN: {}, GZIP: {"Accept-Encoding": "gzip"}, UNCHANGED: {"If-None-Match": tag}}
        variants, sizes = [], {}
        for name, headers in asked.items():
            request = get(PATH, "", *(f"{key}: {value}" for key, value in headers.items()))
            answer = _answer(ours, headers)
            sizes[name] = len(answer.read())
            same = {
                "LAB_PATH": PATH,
                "LAB_BODY": "x" * sizes[name],
                "LAB_HEADERS": _own_headers(answer),
            }
            constant = application("lab.peers.constants:raw", same, ready=PATH)
            variants.append(Variant(name, ours, request))
            variants.append(Variant(_constant(name), started.enter_context(constant), request))
            if name == PLAIN:
                variants.append(Variant(AGAIN, again, request))
                framed = application("lab.peers.constants:hot", same, ready=PATH)
                variants.append(Variant(FRAMED, started.enter_context(framed), request))
        yield variants, sizes


def _constant(name: str) -> str:
    return f"constant like {name}"


def _own_headers(answer: http.client.HTTPResponse) -> str:
    """All but those that the constant has by itself."""
    usual = {"date", "content-type", "content-length"}
    return "\n".join(f"{name}: {value}" for name, value in answer.getheaders() if name not in usual)


def _answer(served: Served, headers: dict[str, str]) -> http.client.HTTPResponse:
    asked = http.client.HTTPConnection(HOST, served.port)
    asked.request("GET", PATH, headers={"Accept-Encoding": ""} | headers)
    return asked.getresponse()


def _rounds(lab: Lab, variants: list[Variant]) -> dict[str, list[Outcome]]:
    shuffled = random.Random(1)
    found: dict[str, list[Outcome]] = defaultdict(list, {each.name: [] for each in variants})
    for number in range(ROUNDS):
        for variant in shuffled.sample(variants, len(variants)):
            outcome = lab.load.fire(
                variant.stream(), seconds=ROUND_S, watched={"server": variant.served.pid}
            )
            found[variant.name].append(outcome)
            rate = outcome.tallies[variant.name].rate
            lab.say(f"round {number + 1}/{ROUNDS}  {variant.name}: {rate:,.0f}/s")
    return dict(found)


def _row(shown: str, name: str, outcomes: list[Outcome], share: Ratio | None) -> list[str]:
    tallies = [outcome.tallies[name] for outcome in outcomes]
    return [
        shown,
        f"{median(tally.rate for tally in tallies):,.0f}",
        str(share or ""),
        f"{median(outcome.cpu_us('server', name) for outcome in outcomes):.1f}",
        f"{median(tally.quantile_ms(0.5) for tally in tallies):.2f}",
        f"{median(tally.quantile_ms(0.95) for tally in tallies):.2f}",
        str(sum(map(_failures, tallies))),
    ]


def _failures(tally: Tally) -> int:
    """An unchanged list is no failure."""
    good = sum(tally.statuses[status] for status in GOOD)
    return tally.unanswered + tally.statuses.total() - good


def _targets(shares: Mapping[str, Ratio], level: Tally) -> list[Target]:
    p95_ms = level.quantile_ms(0.95)
    return [
        *(
            Target(
                f"a list {name}, times the same as a constant",
                str(WANTED_SHARE),
                str(share),
                share.middle >= WANTED_SHARE,
            )
            for name, share in shares.items()
        ),
        Target(
            f"p95 of {USERS} users, {LEVEL_RATE:,.0f} requests/s",
            f"{WANTED_P95_MS:.0f} ms",
            f"{p95_ms:.2f} ms",
            p95_ms < WANTED_P95_MS,
        ),
    ]
