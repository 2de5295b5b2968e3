"""What the catalog stands on while it runs: opened together, and closed in the opposite order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import aiohttp
from fastapi import Depends, Request
from redis.asyncio import Redis

from holdfast.apps.catalog.clock import Clock
from holdfast.apps.catalog.lists.cache import Lists
from holdfast.apps.catalog.options import Options
from holdfast.core.callers import Callers
from holdfast.core.db import Address, Database
from holdfast.core.epochs import Lease
from holdfast.core.identity import identity_of
from holdfast.core.manifest import find
from holdfast.core.partitions import keep_partitions
from holdfast.core.redis import connect
from holdfast.core.settings import Settings

OTHERS_ANSWER_WITHIN_S = 5


@dataclass(frozen=True)
class Catalog:
    settings: Settings
    options: Options
    db: Database
    redis: Redis
    http: aiohttp.ClientSession  # to other services
    lease: Lease
    clock: Clock
    lists: Lists
    callers: Callers

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, options: Options) -> AsyncIterator["Catalog"]:
        async with (
            Database.open(
                database_address(settings), least=settings.db_pool_min, most=settings.db_pool_max
            ) as db,
            connect(settings) as redis,
            _http() as http,
            identity_of(settings, http) as identity,
            Lease.hold(db, lease_s=settings.lease_s) as lease,
            Clock.open(db) as clock,
            Lists.open(db, redis, lease, clock, ttl_s=options.list_ttl_s) as lists,
        ):
            await keep_partitions(db)
            yield cls(
                settings=settings,
                options=options,
                db=db,
                redis=redis,
                http=http,
                lease=lease,
                clock=clock,
                lists=lists,
                callers=Callers(settings, identity),
            )


def database_address(settings: Settings) -> Address:
    app = find("catalog")
    return Address(settings.database_url, app.role, app.schema, settings.replica_url)


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=OTHERS_ANSWER_WITHIN_S),
    )


async def _here(request: Request) -> Catalog:  # FastAPI sends what is not async to a thread
    here: Catalog = request.app.state.catalog
    return here


Here = Annotated[Catalog, Depends(_here)]
