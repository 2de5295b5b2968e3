"""How the workers' metrics become one set of figures.

What no worker tells is nothing: services in this process have no breaker.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from holdfast.gateway.home.rules import add_buckets
from holdfast.gateway.home.schemas import Buckets
from holdfast.gateway.live.schemas import BreakerFigures, Figures

ORDERS = "holdfast_orders_total"
QUEUED = "holdfast_orders_queued"
REFUSED = "holdfast_gateway_refused_total"
BREAKER = "holdfast_gateway_breaker"
DURATION = "holdfast_http_request_duration_seconds_bucket"
PLACE_ORDER = {"method": "POST", "route": "/api/v1/orders"}
WANTED = (ORDERS, QUEUED, REFUSED, BREAKER, DURATION)

SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


def samples(metrics: str) -> Iterator[Sample]:
    """Those that are wanted, of a text in Prometheus' format."""
    for line in metrics.splitlines():
        if line.startswith(WANTED) and (found := SAMPLE.fullmatch(line)):
            name, labels, value = found.groups()
            yield Sample(name, dict(LABEL.findall(labels or "")), float(value))


def combine(told: Mapping[str, str | None], read_at: float) -> Figures:
    workers = [list(samples(metrics)) for metrics in told.values() if metrics is not None]
    everything = [sample for worker in workers for sample in worker]
    return Figures(
        read_at=read_at,
        answering=[name for name, metrics in told.items() if metrics is not None],
        silent=[name for name, metrics in told.items() if metrics is None],
        orders=_by_label(everything, ORDERS, "outcome"),
        queued=sum(int(sample.value) for sample in everything if sample.name == QUEUED),
        refused=_by_label(everything, REFUSED, "reason"),
        breakers=_breakers(everything),
        place_order=add_buckets(filter(None, map(_place_order, workers))),
    )


def _by_label(everything: list[Sample], name: str, label: str) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for sample in everything:
        if sample.name == name:
            counted[sample.labels.get(label, "")] += int(sample.value)
    return dict((+counted).most_common())  # without those that are still at zero


def _breakers(everything: list[Sample]) -> list[BreakerFigures]:
    """A worker's gauge is 1 for the state that its breaker is in."""
    states: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sample in everything:
        if sample.name == BREAKER and sample.value:
            states[sample.labels["upstream"]][sample.labels["state"]] += 1
    return [BreakerFigures(upstream, dict(states[upstream])) for upstream in sorted(states)]


def _place_order(worker: list[Sample]) -> Buckets | None:
    """Prometheus' buckets each count all quicker ones too; ours count for themselves."""
    found = [
        (float(sample.labels["le"]), int(sample.value))
        for sample in worker
        if sample.name == DURATION and sample.labels.items() >= PLACE_ORDER.items()
    ]
    if not found:
        return None
    upto = [0, *(count for _, count in found)]
    counts = [later - earlier for earlier, later in pairwise(upto)]
    return Buckets([bound * 1000 for bound, _ in found[:-1]], counts)
