"""Orders as a service: its routes, its resources, and what its readiness rests on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from holdfast.apps.orders import gauges
from holdfast.apps.orders.life import routes as life
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.payments import routes as payments
from holdfast.apps.orders.placing import routes as placing
from holdfast.apps.orders.proof import routes as proof
from holdfast.apps.orders.records import routes as records
from holdfast.apps.orders.requests import routes as requests
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room import routes as room
from holdfast.apps.orders.waiting import routes as waiting
from holdfast.core.settings import Settings
from holdfast.core.web import DegradedError, Service


def service(settings: Settings, options: Options | None = None) -> Service:
    chosen = options or Options.of(settings)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Orders]:
        async with Orders.open(settings, chosen) as here:
            gauges.show(here)
            yield here

    return Service(
        name="orders",
        lifespan=lifespan,
        routers=[
            *(records.router, proof.router, life.router),
            *(payments.router, waiting.router, requests.router, room.router),
        ],
        hot={**placing.hot, **requests.hot},
        checks={"database": _check_database, "redis": _check_redis},
    )


async def _check_database(here: Orders) -> None:
    await here.db.fetchval("SELECT 1")


async def _check_redis(here: Orders) -> None:
    try:
        await here.redis.ping()
    except (RedisError, OSError) as error:
        raise DegradedError("Redis is away; events wait in the outbox") from error
