"""When sessions were last seen: noted in memory by every request, written now and then.

A worker that is killed loses at most the last few seconds of it; it is a courtesy to the reader
of a list of sessions, and no decision rests on it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from holdfast.apps.identity.access import queries
from holdfast.apps.identity.resources import Identity
from holdfast.core.errors import BusyError

EVERY_S = 20
log = logging.getLogger(__name__)


@asynccontextmanager
async def note_seen_sessions(here: Identity) -> AsyncIterator[None]:
    writing = asyncio.create_task(_write_for_ever(here), name="seen sessions")
    try:
        yield
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        await _write(here)


async def _write_for_ever(here: Identity) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        await _write(here)


async def _write(here: Identity) -> None:
    seen = dict(here.seen)
    here.seen.clear()
    try:
        if seen:
            await queries.update_sessions_seen(
                here.db, sessions=list(seen), times=list(seen.values())
            )
    except BusyError as error:
        log.warning("When sessions were last seen was not written: %r", error)
