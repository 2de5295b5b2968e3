"""A house of one's own for one sale: `holdfast up` as a child, on new data, and gone afterwards."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from holdfast.cli.deals.shop import RushError
from holdfast.cli.servers import free_port
from holdfast.cli.tether import argv

READY = b"Ctrl-C stops everything."
OF_ANOTHER_HOUSE = ("DATABASE_", "REDIS_", "HOLDFAST_")
OF_THIS_HOUSE = {
    "HOLDFAST_LIMITS": "off",
    "HOLDFAST_IDENTITY_ACCESS_TTL_S": "7200",  # the first buyer waits until the last has signed in
}
LAST_LINES = 15
STOPS_WITHIN_S = 60


@asynccontextmanager
async def own_house() -> AsyncIterator[str]:
    """Started and ready; yields its address. If we are killed it ends too, by itself."""
    port = free_port()
    command = (sys.executable, "-m", "holdfast.cli.main", "up", f"--port={port}")
    process = await asyncio.create_subprocess_exec(
        *argv(*command, when_orphaned=signal.SIGTERM),
        stdout=PIPE,
        stderr=STDOUT,
        env=_unlike_any_other(os.environ) | OF_THIS_HOUSE,
        start_new_session=True,  # a Ctrl-C in the terminal is for us, and we stop it
    )
    try:
        await _until_ready(process)
        yield f"http://127.0.0.1:{port}"
    finally:
        await _stop(process)


def _unlike_any_other(environ: Mapping[str, str]) -> dict[str, str]:
    """Without what would make it use, or resemble, an installation that is there."""
    return {name: value for name, value in environ.items() if not name.startswith(OF_ANOTHER_HOUSE)}


async def _until_ready(process: Process) -> None:
    said = []
    assert process.stdout  # noqa: S101 - it is piped
    async for line in process.stdout:
        if READY in line:
            return
        said.append(line.decode(errors="replace"))
    raise RushError("holdfast up did not start:\n" + "".join(said[-LAST_LINES:]))


async def _stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOPS_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
