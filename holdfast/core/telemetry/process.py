"""What the process itself feels: event-loop lag, CPU, memory, and pressure on the machine's CPUs.

Lag is how late a short sleep wakes up: it shows whatever blocks the loop, whichever code it is.
A spike fades over seconds rather than vanishing, so that a scrape now and then still sees it.
CPU pressure is the share of time in which somebody on this machine waited for a CPU (Linux): it
tells a slow program from a crowded machine.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from holdfast.core.telemetry.metrics import Gauge, Registry

SAMPLE_S = 0.1
FADE = 0.97  # a sample; a spike halves in about two seconds
MEMORY = Path("/proc/self/statm")
PRESSURE = Path("/proc/pressure/cpu")


@asynccontextmanager
async def watched(registry: Registry) -> AsyncIterator[Gauge]:
    """Keeps the figures up to date meanwhile; yields the gauge of the loop's lag."""
    cpu = registry.counter("process_cpu_seconds_total", "CPU time of the process, all threads.")
    cpu.of().watch(time.process_time)
    with suppress(OSError):
        _resident_bytes()
        memory = registry.gauge("process_resident_memory_bytes", "Memory in RAM.")
        memory.of().watch(_resident_bytes)
    with suppress(OSError):
        _cpu_pressure_ratio()
        pressure = registry.gauge(
            "holdfast_cpu_pressure_ratio",
            "Share of the last ten seconds in which some task waited for a CPU.",
        )
        pressure.of().watch(_cpu_pressure_ratio)
    lag = registry.gauge("holdfast_event_loop_lag_seconds", "How late the event loop is.").of()
    measuring = asyncio.create_task(_measure(lag), name="event loop lag")
    try:
        yield lag
    finally:
        measuring.cancel()
        with suppress(asyncio.CancelledError):
            await measuring


async def _measure(lag: Gauge) -> None:
    while True:
        slept = time.perf_counter()
        await asyncio.sleep(SAMPLE_S)
        late_s = time.perf_counter() - slept - SAMPLE_S
        lag.set(max(late_s, lag.value * FADE))


def _resident_bytes() -> float:
    return int(MEMORY.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_pressure_ratio() -> float:
    """Of a line like `some avg10=1.50 avg60=0.75 avg300=0.10 total=4111530`."""
    return float(PRESSURE.read_text().split("avg10=", 1)[1].split(maxsplit=1)[0]) / 100
