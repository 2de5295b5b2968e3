"""What orders stand on while they run: opened together, and closed in the opposite order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

import aiohttp
from fastapi import Depends, Request
from redis.asyncio import Redis

from holdfast.apps.orders.offers.cache import Confirmations
from holdfast.apps.orders.offers.client import Catalog, catalog_at
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.payments.client import PaymentProvider
from holdfast.apps.orders.placing.cache import SoldOut
from holdfast.apps.orders.requests.cache import Listeners
from holdfast.apps.orders.room.cache import Rooms
from holdfast.core.callers import Callers
from holdfast.core.db import Address, Database
from holdfast.core.identity import identity_of
from holdfast.core.manifest import find
from holdfast.core.merge import Merge
from holdfast.core.partitions import keep_partitions
from holdfast.core.redis import connect
from holdfast.core.settings import Settings

Item = TypeVar("Item")
Answer = TypeVar("Answer")

OTHERS_ANSWER_WITHIN_S = 5
MOST_AT_ONCE = 512


@dataclass(frozen=True)
class Orders:
    settings: Settings
    options: Options
    db: Database
    redis: Redis
    http: aiohttp.ClientSession  # to other services
    callers: Callers
    catalog: Catalog
    payments: PaymentProvider
    known: Confirmations = field(default_factory=Confirmations)
    sold_out: SoldOut = field(default_factory=SoldOut)
    rooms: Rooms = field(default_factory=Rooms)
    listeners: Listeners = field(default_factory=Listeners)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)  # that nobody waits for
    _merges: dict[tuple[Callable[..., Any], int], Merge[Any, Any]] = field(default_factory=dict)

    def merged(
        self,
        action: Callable[["Orders", list[Item]], Awaitable[Sequence[Answer]]],
        *,
        lane: int = 0,
        most: int = MOST_AT_ONCE,
    ) -> Merge[Item, Answer]:
        """This worker's way into an action that serves many callers at once; lanes do not wait
        for each other.
        """
        merge = self._merges.get((action, lane))
        if merge is None:
            merge = Merge(partial(action, self), name=action.__name__, most=most)
            self._merges[action, lane] = merge
        return merge

    @property
    def queued(self) -> int:
        return sum(merge.queued for merge in self._merges.values())

    async def close(self) -> None:
        """Let everyone who was admitted have their answer, and nobody else in."""
        for merge in list(self._merges.values()):
            await merge.aclose()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, options: Options) -> AsyncIterator["Orders"]:
        async with (
            Database.open(
                database_address(settings), least=settings.db_pool_min, most=settings.db_pool_max
            ) as db,
            connect(settings) as redis,
            other_services() as http,
            identity_of(settings, http) as identity,
            catalog_at(options.catalog_url or settings.origin, http) as catalog,
            other_services() as till,  # a slow provider uses up its own connections only
        ):
            await keep_partitions(db)
            here = cls(
                settings=settings,
                options=options,
                db=db,
                redis=redis,
                http=http,
                callers=Callers(settings, identity),
                catalog=catalog,
                payments=PaymentProvider(options.payment_url, options.payment_key, till),
            )
            try:
                yield here
            finally:
                await here.close()


def database_address(settings: Settings) -> Address:
    app = find("orders")
    return Address(settings.database_url, app.role, app.schema, settings.replica_url)


def other_services() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=OTHERS_ANSWER_WITHIN_S),
    )


async def _here(request: Request) -> Orders:  # FastAPI sends what is not async to a thread
    here: Orders = request.app.state.orders
    return here


Here = Annotated[Orders, Depends(_here)]
