"""`holdfast up` as a benchmark sees it: started, timed until it is ready, and stopped."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from holdfast.cli.servers import free_port
from lab.machine import CORES, on
from lab.servers import ROOT, until_ready

OF_ITS_OWN = ("DATABASE_URL", "REDIS_URL", "HOLDFAST_SECRET")  # left out: it starts its own


@contextmanager
def data_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-lab-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def house(data: Path) -> Iterator[tuple[float, int]]:
    """The house on all cores, with one worker; answers the seconds to readiness, and its pid."""
    port = free_port()
    command = [sys.executable, "-m", "holdfast.cli.main", "up"]
    command += ["--port", str(port), "--data", str(data), "--workers", "1"]
    began = perf_counter()
    with on(*CORES):
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in OF_ITS_OWN},
            stdout=subprocess.DEVNULL,
        )
    try:
        until_ready(port, "/health/ready", process)
        yield perf_counter() - began, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
