"""Background work of orders: requests, events on their way, payments, what time ends, partitions."""

import asyncio

from holdfast.apps.orders.gauges import show_waiting_for_ever
from holdfast.apps.orders.life.jobs import expire_for_ever
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.payments.jobs import settle_for_ever
from holdfast.apps.orders.requests.jobs import decide_for_ever
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room.jobs import tend_rooms_for_ever
from holdfast.core import broker
from holdfast.core.db import Database
from holdfast.core.outbox.gauges import show_events_for_ever
from holdfast.core.outbox.relay import relay_for_ever
from holdfast.core.partitions import keep_partitions
from holdfast.core.settings import Settings

EVERY_S = 3600
CONNECTIONS = {"db_pool_min": 1, "db_pool_max": 6}  # a few, however many a worker has


async def jobs(settings: Settings) -> None:
    """Work until cancelled; any number of these processes may run at once."""
    async with (
        Orders.open(settings.model_copy(update=CONNECTIONS), Options.of(settings)) as here,
        broker.connect(settings) as events,
        asyncio.TaskGroup() as tasks,
    ):
        hold_s = here.options.hold_s
        tasks.create_task(relay_for_ever(here.db, events.sink("events:orders")))
        tasks.create_task(show_events_for_ever(here.db))
        tasks.create_task(_tidy_for_ever(here.db))
        tasks.create_task(expire_for_ever(here.db, hold_s))
        tasks.create_task(settle_for_ever(here.db, here.payments, hold_s))
        tasks.create_task(decide_for_ever(here))
        tasks.create_task(tend_rooms_for_ever(here.db))
        tasks.create_task(show_waiting_for_ever(here.db))


async def _tidy_for_ever(db: Database) -> None:
    while True:
        await keep_partitions(db)
        await asyncio.sleep(EVERY_S)
