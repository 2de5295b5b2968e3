"""Identity as a service: its routes, its resources, and what its readiness rests on."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from holdfast.apps.identity import gauges
from holdfast.apps.identity.access.jobs import note_seen_sessions
from holdfast.apps.identity.accounts import routes as accounts
from holdfast.apps.identity.history import routes as history
from holdfast.apps.identity.keys import routes as keys
from holdfast.apps.identity.login import routes as login
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles import routes as roles
from holdfast.apps.identity.sessions import routes as sessions
from holdfast.core.settings import Settings
from holdfast.core.web import DegradedError, Service


def service(settings: Settings, options: Options | None = None) -> Service:
    chosen = options or Options.load(os.environ)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Identity]:
        async with Identity.open(settings, chosen) as here, note_seen_sessions(here):
            gauges.show(here)
            yield here

    return Service(
        name="identity",
        lifespan=lifespan,
        routers=[
            accounts.router,
            login.router,
            sessions.router,
            history.router,
            roles.router,
            keys.router,
        ],
        hot=accounts.hot,
        checks={"database": _check_database, "redis": _check_redis, "epochs": _check_epochs},
    )


async def _check_database(here: Identity) -> None:
    await here.db.fetchval("SELECT 1")


async def _check_redis(here: Identity) -> None:
    try:
        await here.redis.ping()
    except (RedisError, OSError) as error:
        raise DegradedError("Redis is away; limits are counted per worker") from error


async def _check_epochs(here: Identity) -> None:
    await here.lease.confirm()
