"""Background work of the catalog: events on their way out and in, partitions ahead."""

import asyncio

from holdfast.apps.catalog.availability.actions import keep_availability
from holdfast.apps.catalog.resources import database_address
from holdfast.core import broker
from holdfast.core.db import Database
from holdfast.core.outbox.gauges import show_events_for_ever
from holdfast.core.outbox.relay import relay_for_ever
from holdfast.core.partitions import keep_partitions
from holdfast.core.settings import Settings
from holdfast.core.streams import Consumer, consume_for_ever

EVERY_S = 3600
CONNECTIONS = 4


async def jobs(settings: Settings) -> None:
    """Work until cancelled; any number of these processes may run at once."""
    async with (
        Database.open(database_address(settings), least=1, most=CONNECTIONS) as db,
        broker.connect(settings) as events,
        asyncio.TaskGroup() as tasks,
    ):
        orders = Consumer(db, events.source("events:orders"), {"stock.changed": keep_availability})
        tasks.create_task(relay_for_ever(db, events.sink("events:catalog")))
        tasks.create_task(show_events_for_ever(db))
        tasks.create_task(consume_for_ever(orders))
        tasks.create_task(_tidy_for_ever(db))


async def _tidy_for_ever(db: Database) -> None:
    while True:
        await keep_partitions(db)
        await asyncio.sleep(EVERY_S)
