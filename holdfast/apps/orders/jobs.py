"""Background work of orders: events on their way, payments, what time ends, partitions."""

import asyncio

from holdfast.apps.orders.life.jobs import expire_for_ever
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.payments.client import PaymentProvider
from holdfast.apps.orders.payments.jobs import settle_for_ever
from holdfast.apps.orders.resources import database_address, other_services
from holdfast.core.db import Database
from holdfast.core.outbox.relay import relay_for_ever
from holdfast.core.partitions import keep_partitions
from holdfast.core.redis import connect
from holdfast.core.settings import Settings

EVERY_S = 3600
CONNECTIONS = 4


async def jobs(settings: Settings) -> None:
    """Work until cancelled; any number of these processes may run at once."""
    options = Options.of(settings)
    async with (
        Database.open(database_address(settings), least=1, most=CONNECTIONS) as db,
        connect(settings) as redis,
        other_services() as http,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(relay_for_ever(db, redis))
        tasks.create_task(_tidy_for_ever(db))
        tasks.create_task(expire_for_ever(db, options.hold_s))
        provider = PaymentProvider(options.payment_url, options.payment_key, http)
        tasks.create_task(settle_for_ever(db, provider, options.hold_s))


async def _tidy_for_ever(db: Database) -> None:
    while True:
        await keep_partitions(db)
        await asyncio.sleep(EVERY_S)
