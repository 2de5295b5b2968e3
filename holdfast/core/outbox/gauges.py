"""What waits in the outbox, counted now and then by the background jobs: no scrape costs a statement."""

import asyncio
from contextlib import suppress

from holdfast.core.db import Database
from holdfast.core.errors import BusyError
from holdfast.core.outbox import queries
from holdfast.core.telemetry.metrics import PROCESS, Registry

COUNTED_EVERY_S = 5


async def show_events_for_ever(db: Database, registry: Registry = PROCESS) -> None:
    """While the database is away the last count stays."""
    events = registry.gauge("holdfast_outbox_events_waiting", "Events not yet relayed.", "app")
    oldest = registry.gauge(
        "holdfast_outbox_oldest_waiting_seconds", "How long the oldest of them has waited.", "app"
    )
    while True:
        with suppress(BusyError):
            waiting = await queries.select_events_waiting(db)
            events.of(db.address.schema).set(waiting.events)
            oldest.of(db.address.schema).set(waiting.oldest_s)
        await asyncio.sleep(COUNTED_EVERY_S)
