"""The door, where the app is behind the network: beside nginx and Envoy, and no door at all.

Claim: a front door in Python that does all that ours does still hands on thousands of requests a
second with one process, which is enough for what Python serves behind it.
Target: 14 % of what the upstream gives directly, as the quickest Python proxy of the plan did.
What bounds it: one core's Python. Of a request's time a little less than half is the second connection,
asking and reading the answer; the rest is uvicorn and the door.

One upstream for all (nginx with one small answer) and wrk share a core; the proxy has the other one
for itself. In random order in every round. nginx and Envoy only pass on; ours is `holdfast serve
gateway` as it is, with its own table, its ids, deadlines and breaker, its limits off.
"""

import random
import re
import resource
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

from lab.gateway.proxies import constant, envoy, nginx, program
from lab.machine import LOAD_CORE, SERVER_CORE, Moment, Use, on
from lab.result import Lab, Ratio, Result, Target
from lab.servers import HOST, Served, worker

PATH = "/api/v1/time"
BODY = '{"data":{"now":"2026-01-01T00:00:00.000Z"}}'
CONNECTIONS = 64
ROUNDS, ROUND_S, WARM_S = 6, 3, 1
WANTED_SHARE = 0.14
DIRECT, NGINX, ENVOY, HOLDFAST = "direct", "nginx", "Envoy", "holdfast"
FIGURES = re.compile(
    r"\s50%\s+(?P<p50>\S+).*99%\s+(?P<p99>\S+).*?(?P<requests>\d+) requests in (?P<seconds>[\d.]+)s",
    re.DOTALL,
)
IN_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Run:
    """What wrk told of one round, and what it cost."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    failures: str
    use: Use
    wrk_cpu_s: float

    @property
    def cpu_us(self) -> float:
        return self.use.cpu_s["proxy"] / self.requests * 1e6

    @property
    def others(self) -> float:
        return max(0.0, self.use.others - self.wrk_cpu_s / self.use.seconds)


def measure(lab: Lab) -> Result:
    found: dict[str, list[Run]] = defaultdict(list)
    shuffled = random.Random(1)
    with _doors(lab) as (upstream, doors):
        for number in range(ROUNDS):
            for name in shuffled.sample([*doors], len(doors)):
                _wrk(doors[name], upstream, WARM_S)
                run = _wrk(doors[name], upstream, ROUND_S)
                found[name].append(run)
                lab.say(f"round {number + 1}/{ROUNDS}  {name}: {run.rate:,.0f}/s")
    rates = {name: [run.rate for run in found[name]] for name in found}
    shares = {name: Ratio.of(rates[name], rates[DIRECT]) for name in (NGINX, ENVOY, HOLDFAST)}
    taken = [run.others for runs in found.values() for run in runs]
    return Result(
        columns=("door", "requests/s", "to direct", "CPU us", "p50 ms", "p99 ms", "failures"),
        rows=[_row(name, found[name], shares.get(name)) for name in doors],
        targets=[
            Target(
                "requests/s through the door over the network, times those without it",
                str(WANTED_SHARE),
                str(shares[HOLDFAST]),
                shares[HOLDFAST].middle >= WANTED_SHARE,
            ),
            *(
                Target(
                    f"the same through {name}, which only passes on", "", str(shares[name]), None
                )
                for name in (NGINX, ENVOY)
            ),
        ],
        others=median(taken),
        notes=[
            (
                f"wrk with {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND_S} s; CPU is the door's"
                " alone, for each request (for direct: the upstream's)."
            ),
            (
                f"Other programs took {100 * median(taken):.1f} % of a core (at most"
                f" {100 * max(taken):.1f} %)."
            ),
        ],
        raw={name: [asdict(run) for run in runs] for name, runs in found.items()},
    )


@contextmanager
def _doors(lab: Lab) -> Iterator[tuple[Served, Mapping[str, Served]]]:
    with ExitStack() as started, lab.stack.database("identity", "catalog", "orders") as environ:
        upstream = started.enter_context(constant(BODY, LOAD_CORE))
        leads = {"HOLDFAST_GATEWAY_UPSTREAMS": f"catalog=http://{HOST}:{upstream.port}"}
        yield (
            upstream,
            {
                DIRECT: upstream,
                NGINX: started.enter_context(nginx(upstream, SERVER_CORE)),
                ENVOY: started.enter_context(envoy(upstream, SERVER_CORE)),
                HOLDFAST: started.enter_context(worker({**environ, **leads}, app="gateway")),
            },
        )


def _wrk(door: Served, upstream: Served, seconds: int) -> Run:
    command = [program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency"]
    watched = {"proxy": door.pid} | ({} if door is upstream else {"upstream": upstream.pid})
    before, wrk_before = Moment.now(watched), resource.getrusage(resource.RUSAGE_CHILDREN)
    with on(LOAD_CORE):
        told = subprocess.run(
            [*command, f"http://{HOST}:{door.port}{PATH}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    use, wrk = Moment.now(watched).since(before), resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = FIGURES.search(told)
    if figures is None:
        raise ValueError(f"wrk said something else: {told}")
    requests = int(figures["requests"])
    failed = re.findall(r"Non-2xx.*|Socket errors.*", told)
    return Run(
        requests=requests,
        rate=requests / float(figures["seconds"]),
        p50_ms=_ms(figures["p50"]),
        p99_ms=_ms(figures["p99"]),
        failures="; ".join(failed) or "0",
        use=use,
        wrk_cpu_s=wrk.ru_utime + wrk.ru_stime - wrk_before.ru_utime - wrk_before.ru_stime,
    )


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * IN_MS[unit]


def _row(name: str, runs: list[Run], share: Ratio | None) -> list[str]:
    return [
        name,
        f"{median(run.rate for run in runs):,.0f}",
        str(share or ""),
        f"{median(run.cpu_us for run in runs):.1f}",
        f"{median(run.p50_ms for run in runs):.2f}",
        f"{median(run.p99_ms for run in runs):.2f}",
        "; ".join({run.failures for run in runs}),
    ]
