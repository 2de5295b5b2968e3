"""Identity's background work: events on their way, partitions ahead of time, old lanes gone."""

import asyncio

from holdfast.apps.identity.login import queries as login
from holdfast.apps.identity.resources import database_address
from holdfast.core.db import Database
from holdfast.core.outbox.relay import relay_for_ever
from holdfast.core.partitions import keep_partitions
from holdfast.core.redis import connect
from holdfast.core.settings import Settings

EVERY_S = 3600
CONNECTIONS = 3


async def jobs(settings: Settings) -> None:
    """Work until cancelled; any number of these processes may run at once."""
    async with (
        Database.open(database_address(settings), least=1, most=CONNECTIONS) as db,
        connect(settings) as redis,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(relay_for_ever(db, redis))
        tasks.create_task(_tidy_for_ever(db))


async def _tidy_for_ever(db: Database) -> None:
    while True:
        await keep_partitions(db)
        await login.delete_quiet_login_lanes(db)
        await asyncio.sleep(EVERY_S)
