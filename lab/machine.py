"""The machine: what it is, which core does what, and who used its time meanwhile.

Servers run on the first core that we may use and the load generator on the last, so that the two
do not measure each other. What a process costs is taken from `/proc`, with all its children;
time that neither belongs to what is measured nor to the generator is told as `others`, and the
kernel's own word on waiting for a core as `pressure`: that is how a noisy round is known.
"""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

CORES = tuple(sorted(os.sched_getaffinity(0)))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PACKAGES = ("holdfast", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "asyncpg")
CPU_TIMES = slice(11, 15)  # of what follows the name in /proc/PID/stat; with those of dead children


@dataclass(frozen=True)
class Use:
    """What a stretch of time cost. `cpu_s` is by name of what was watched, with its children."""

    seconds: float
    cpu_s: dict[str, float]
    load_cpu_s: float
    others: float  # cores that were busy with neither
    steal: float  # cores that the hypervisor gave to somebody else
    pressure: float  # share of the time in which somebody waited for a core


@dataclass(frozen=True)
class Moment:
    at: float
    cpu_s: dict[str, float]
    own_s: float
    busy_s: float
    steal_s: float
    pressure_s: float

    @classmethod
    def now(cls, watched: Mapping[str, int]) -> "Moment":
        busy_s, steal_s = _machine_time()
        return cls(
            at=perf_counter(),
            cpu_s=cpu_of(watched),
            own_s=process_time(),
            busy_s=busy_s,
            steal_s=steal_s,
            pressure_s=_pressure_s(),
        )

    def since(self, before: "Moment") -> Use:
        seconds = self.at - before.at
        cpu_s = {name: self.cpu_s[name] - before.cpu_s[name] for name in self.cpu_s}
        load_cpu_s = self.own_s - before.own_s
        busy_s = self.busy_s - before.busy_s
        return Use(
            seconds=seconds,
            cpu_s=cpu_s,
            load_cpu_s=load_cpu_s,
            others=max(0.0, busy_s - sum(cpu_s.values()) - load_cpu_s) / seconds,
            steal=(self.steal_s - before.steal_s) / seconds,
            pressure=(self.pressure_s - before.pressure_s) / seconds,
        )


@contextmanager
def on(*cores: int) -> Iterator[None]:
    """Whatever is started meanwhile runs on these cores, and so do its children."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def cpu_of(watched: Mapping[str, int]) -> dict[str, float]:
    """Seconds of CPU that each has used, with its children, living and dead."""
    return {name: sum(map(_cpu_s, _family(pid))) for name, pid in watched.items()}


def memory_of(pid: int) -> dict[str, float]:
    """MiB of a process and its children: resident, and with what is shared divided fairly."""
    total = {"Rss": 0.0, "Pss": 0.0}
    for each in _family(pid):
        told = Path(f"/proc/{each}/smaps_rollup").read_text()
        for name in total:
            found = re.search(rf"^{name}: +(\d+) kB", told, re.MULTILINE)
            total[name] += int(found[1]) / 1024 if found else 0
    return {"rss_mib": total["Rss"], "pss_mib": total["Pss"]}


def describe() -> dict[str, object]:
    return {
        "cpu": _cpu_model(),
        "cores": len(CORES),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "packages": {name: version(name) for name in PACKAGES},
        "load_average": os.getloadavg(),
    }


def slug() -> str:
    model = re.sub(r"[^a-z0-9]+", "-", _cpu_model().lower()).strip("-")
    return f"{model}-{len(CORES)}-cores"


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return sum(map(int, told[CPU_TIMES])) / TICKS_A_SECOND
    return 0.0


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from _family(int(child))


def _machine_time() -> tuple[float, float]:
    """Seconds, over all cores: spent on anything at all, and stolen."""
    told = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (
        int(ticks) / TICKS_A_SECOND for ticks in told[:8]
    )
    return user + nice + system + irq + softirq, steal


def _pressure_s() -> float:
    with suppress(OSError):
        found = re.search(
            r"^some .*total=(\d+)$", Path("/proc/pressure/cpu").read_text(), re.MULTILINE
        )
        if found:
            return int(found[1]) / 1e6
    return 0.0
