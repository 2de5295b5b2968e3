"""The catalog as a service: its routes, its resources, and what its readiness rests on."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from holdfast.apps.catalog import gauges
from holdfast.apps.catalog.availability import routes as availability
from holdfast.apps.catalog.deals import routes as deals
from holdfast.apps.catalog.lists import routes as lists
from holdfast.apps.catalog.offers import routes as offers
from holdfast.apps.catalog.options import Options
from holdfast.apps.catalog.products import routes as products
from holdfast.apps.catalog.resources import Catalog
from holdfast.core.settings import Settings
from holdfast.core.web import DegradedError, Method, Service


def service(settings: Settings, options: Options | None = None) -> Service:
    chosen = options or Options.of(settings)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Catalog]:
        async with Catalog.open(settings, chosen) as here:
            gauges.show(here)
            yield here

    return Service(
        name="catalog",
        lifespan=lifespan,
        routers=[deals.router, products.router, lists.router, offers.router, availability.router],
        hot=lists.hot,
        checks={"database": _check_database, "redis": _check_redis},
        grpc=_grpc,
    )


def _grpc() -> Mapping[str, Method]:
    from holdfast.apps.catalog.offers import grpc  # noqa: PLC0415 - who serves none does without it

    return grpc.methods


async def _check_database(here: Catalog) -> None:
    await here.db.fetchval("SELECT 1")


async def _check_redis(here: Catalog) -> None:
    try:
        await here.redis.ping()
    except (RedisError, OSError) as error:
        raise DegradedError("Redis is away; lists are made by each worker for itself") from error
