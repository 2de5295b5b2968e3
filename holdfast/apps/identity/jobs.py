"""Identity's background work: events and mails on their way, partitions ahead, old lanes gone."""

import asyncio

from holdfast.apps.identity import gauges
from holdfast.apps.identity.login import queries as login
from holdfast.apps.identity.mail import queries as mail
from holdfast.apps.identity.mail.jobs import Office, send_for_ever
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import database_address, policy_of
from holdfast.apps.identity.secrets import Secrets
from holdfast.core import broker
from holdfast.core.db import Database
from holdfast.core.limits import Limits
from holdfast.core.outbox.gauges import show_events_for_ever
from holdfast.core.outbox.relay import relay_for_ever
from holdfast.core.partitions import keep_partitions
from holdfast.core.redis import connect
from holdfast.core.settings import Settings

EVERY_S = 3600
CONNECTIONS = 3


async def jobs(settings: Settings) -> None:
    """Work until cancelled; any number of these processes may run at once."""
    options = Options.of(settings)
    async with (
        Database.open(database_address(settings), least=1, most=CONNECTIONS) as db,
        connect(settings) as redis,
        broker.connect(settings) as events,
        asyncio.TaskGroup() as tasks,
    ):
        office = Office(
            settings=settings,
            options=options,
            secrets=Secrets(settings.secret),
            db=db,
            limits=Limits(redis),
            mailbox=policy_of(settings).get("mailbox"),
        )
        tasks.create_task(relay_for_ever(db, events.sink("events:identity")))
        tasks.create_task(show_events_for_ever(db))
        tasks.create_task(send_for_ever(office))
        tasks.create_task(_tidy_for_ever(db))
        tasks.create_task(gauges.show_mails_for_ever(db))


async def _tidy_for_ever(db: Database) -> None:
    while True:
        await keep_partitions(db)
        await login.delete_quiet_login_lanes(db)
        await mail.update_mails_given_up(db)
        await asyncio.sleep(EVERY_S)
