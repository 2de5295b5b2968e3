"""What a benchmark found: a table, the targets it was held to, and everything raw behind them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from lab.load import Generator, Outcome
from lab.servers import Stack


@dataclass(frozen=True)
class Lab:
    """What every benchmark is given."""

    stack: Stack
    load: Generator
    say: Callable[[str], None]


@dataclass(frozen=True)
class Target:
    what: str
    wanted: str
    measured: str
    reached: bool | None  # None: compared, with no target set


@dataclass(frozen=True)
class Result:
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Sequence[Target]
    others: float | None  # cores that other programs took meanwhile; None where it is no matter
    notes: Sequence[str] = ()
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """How many times B is A: the median of the rounds, and the lowest and highest of them."""

    middle: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, numerators: Sequence[float], denominators: Sequence[float]) -> "Ratio":
        ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
        return cls(median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.lowest:.2f} to {self.highest:.2f})"


def others(outcomes: Sequence[Outcome]) -> float:
    return median(outcome.use.others for outcome in outcomes)


def noise(outcomes: Sequence[Outcome]) -> str:
    """A sentence for the notes: who else used the machine while it was measured."""
    taken = [100 * outcome.use.others for outcome in outcomes]
    steal = [100 * outcome.use.steal for outcome in outcomes]
    pressure = [100 * outcome.use.pressure for outcome in outcomes]
    return (
        f"Noise over {len(outcomes)} runs: other programs took {median(taken):.1f} % of a core"
        f" (at most {max(taken):.1f} %), steal {median(steal):.1f} % (at most {max(steal):.1f} %),"
        f" somebody waited for a core {median(pressure):.1f} % of the time"
        f" (at most {max(pressure):.1f} %)."
    )
