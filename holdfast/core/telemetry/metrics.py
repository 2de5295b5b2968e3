"""Counters, gauges and histograms, rendered in Prometheus' text format 0.0.4.

An observation is one addition in a Python object: well under a microsecond, for a hot path does
not want to be watched at its own expense. Each process has one `PROCESS` registry and its own
port; nothing is shared between workers, Prometheus adds them up. Only the event loop's thread
may observe: there are no locks. Label values must be few and known (route templates, never paths).

    placed = PROCESS.counter("holdfast_orders_total", "Orders placed.", "outcome")
    placed.of("sold").add()
"""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCIES_S = (
    *(0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 10.0),
)
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Series(Protocol):
    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """What to write: the name's suffix, further labels, the number."""


class Counter:
    """Grows only. `watch` takes the number from elsewhere whenever it is asked for."""

    __slots__ = ("_read", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._read: Callable[[], float] | None = None

    @property
    def value(self) -> float:
        return self._read() if self._read else self._value

    def add(self, amount: float = 1) -> None:
        self._value += amount

    def watch(self, read: Callable[[], float]) -> None:
        self._read = read

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        yield "", {}, self.value


class Gauge(Counter):
    """Goes up and down."""

    __slots__ = ()

    def set(self, value: float) -> None:
        self._value = value


class Histogram:
    """How many observations fell into each bucket; a quantile is right to within its bucket."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    @property
    def counts(self) -> list[int]:
        """Of each bucket alone; the last one is for whatever is beyond all bounds."""
        return self._counts.copy()

    @property
    def count(self) -> int:
        return sum(self._counts)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def quantile(self, q: float) -> float:
        """Interpolated inside the bucket; beyond the last bound that bound; of nothing NaN."""
        rank = q * self.count
        lower, below = 0.0, 0
        for upper, count in zip(self.bounds, self._counts, strict=False):
            if count and below + count >= rank:
                return lower + (upper - lower) * (rank - below) / count
            lower, below = upper, below + count
        return lower if self._counts[-1] else math.nan

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        for bound, count in zip((*self.bounds, math.inf), accumulate(self._counts), strict=True):
            yield "_bucket", {"le": _number(bound)}, count
        yield "_sum", {}, self.sum
        yield "_count", {}, self.count


S = TypeVar("S", bound=Series)


class Family(Generic[S]):
    """All series of one name, told apart by the values of their labels."""

    def __init__(
        self, kind: str, name: str, about: str, labels: tuple[str, ...], make: Callable[[], S]
    ) -> None:
        for word in (name, *labels):
            if not NAME.fullmatch(word):
                raise ValueError(f"{word!r} cannot name a metric or a label")
        self.kind = kind
        self.name = name
        self.labels = labels
        self._about = about
        self._make = make
        self._series: dict[tuple[str, ...], S] = {}

    def of(self, *values: str) -> S:
        """The series with these label values; made when first asked for. Keep it where it is hot."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self.labels):
                raise ValueError(f"{self.name} has labels {self.labels}, got {values}")
            series = self._series[values] = self._make()
        return series

    def items(self) -> list[tuple[tuple[str, ...], S]]:
        return list(self._series.items())

    def lines(self) -> Iterator[str]:
        about = self._about.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {self.name} {about}"
        yield f"# TYPE {self.name} {self.kind}"
        for values, series in self.items():
            labels = dict(zip(self.labels, values, strict=True))
            for suffix, more, value in series.samples():
                yield f"{self.name}{suffix}{_braced(labels | more)} {_number(value)}"


class Registry:
    """Families by name. Who asks for a name again gets the same family."""

    def __init__(self) -> None:
        self._families: dict[str, Family[Counter] | Family[Gauge] | Family[Histogram]] = {}

    def counter(self, name: str, about: str, *labels: str) -> Family[Counter]:
        return self._family(Family("counter", name, about, labels, Counter))

    def gauge(self, name: str, about: str, *labels: str) -> Family[Gauge]:
        return self._family(Family("gauge", name, about, labels, Gauge))

    def histogram(
        self, name: str, about: str, *labels: str, bounds: Sequence[float] = LATENCIES_S
    ) -> Family[Histogram]:
        return self._family(Family("histogram", name, about, labels, lambda: Histogram(bounds)))

    def render(self) -> str:
        return "".join(f"{line}\n" for family in self._families.values() for line in family.lines())

    def _family(self, wanted: Family[S]) -> Family[S]:
        known = self._families.setdefault(wanted.name, wanted)  # type: ignore[arg-type]
        if (known.kind, known.labels) != (wanted.kind, wanted.labels):
            raise ValueError(f"{known.name} is a {known.kind} with labels {known.labels} already")
        return known  # type: ignore[return-value]  # the same kind has the same series


PROCESS = Registry()


def _braced(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) else repr(float(value))
