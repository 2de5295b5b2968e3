"""What identity shows of itself while it runs, besides its requests.

A worker shows its own state whenever it is asked. What waits in the database is counted by the
background jobs now and then, so that no scrape costs a statement.
"""

import asyncio
from contextlib import suppress
from typing import get_args

from holdfast.apps.identity.history.schemas import Outcome
from holdfast.apps.identity.mail import queries as mail
from holdfast.apps.identity.resources import Identity
from holdfast.core.db import Database
from holdfast.core.errors import BusyError
from holdfast.core.telemetry.metrics import PROCESS, Registry

APP = "identity"
COUNTED_EVERY_S = 5

attempts = PROCESS.counter("holdfast_logins_total", "Attempts to sign in.", "outcome")


def show(here: Identity, registry: Registry = PROCESS) -> None:
    connections = registry.gauge(
        "holdfast_database_connections", "Of the pool, by what they do.", "app", "state"
    )
    connections.of(APP, "in_use").watch(lambda: here.db.in_use)
    connections.of(APP, "at_most").watch(lambda: here.db.size)
    connections.of(APP, "waited_for").watch(lambda: here.db.waiting)
    hashing = registry.gauge("holdfast_hashing_passwords", "Passwords, by state.", "app", "state")
    hashing.of(APP, "queued").watch(lambda: here.hashing.queued)
    hashing.of(APP, "running").watch(lambda: here.hashing.running)
    grants = registry.counter("holdfast_cache_reads_total", "By outcome.", "cache", "outcome")
    grants.of("grants", "hit").watch(lambda: here.grants.hits)
    grants.of("grants", "miss").watch(lambda: here.grants.misses)
    lease = registry.gauge(
        "holdfast_epochs_lease_held", "1 while decisions may be given from memory.", "app"
    )
    lease.of(APP).watch(lambda: float(here.lease.held))
    noted = registry.gauge("holdfast_epochs_noted", "The last change that was noted.", "app")
    noted.of(APP).watch(lambda: here.lease.slots.noted)
    for outcome in get_args(Outcome):
        attempts.of(outcome)  # from zero, or the first of its kind would be no increase


async def show_mails_for_ever(db: Database, registry: Registry = PROCESS) -> None:
    """What waits to be sent. While the database is away the last count stays."""
    mails = registry.gauge("holdfast_mails", "Mails not sent, by state.", "app", "state")
    latest = registry.gauge(
        "holdfast_mails_oldest_waiting_seconds", "How long the oldest mail has waited.", "app"
    )
    while True:
        with suppress(BusyError):
            unsent = await mail.select_mails_unsent(db)
            mails.of(APP, "waiting").set(unsent.waiting)
            mails.of(APP, "given_up").set(unsent.given_up)
            latest.of(APP).set(unsent.oldest_s)
        await asyncio.sleep(COUNTED_EVERY_S)
