"""Lists as ready-made bytes: in the worker's memory, in Redis, and made from the tables.

An entry counts until something that it shows changes, and for `ttl_s` at most. A worker knows what
has changed while it holds its lease; without it, it asks first. One whom PostgreSQL does not answer
goes on by what it has, until each list is `ttl_s` old: to a reader an old list is better than none.
What must not be old is decided where it is bought.

The pages that everybody opens are made before they are asked for, and a list of deals holds what
it will be in the coming minute: when a deal opens, nothing is read at all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Self
from uuid import UUID

from redis.asyncio import Redis

from holdfast.apps.catalog.clock import Clock
from holdfast.apps.catalog.deals.schemas import DealOut
from holdfast.apps.catalog.lists import queries
from holdfast.apps.catalog.lists.rules import Listing, Timeline, listing_of
from holdfast.apps.catalog.lists.schemas import (
    COUNTED_TO,
    DealsAsked,
    DealsQuery,
    ProductsAsked,
    ProductsPage,
    ProductsQuery,
)
from holdfast.apps.catalog.products.schemas import ProductOut
from holdfast.core.cache import Cache
from holdfast.core.db import Database, Executor
from holdfast.core.epochs import Lease, Slots
from holdfast.core.errors import BusyError
from holdfast.core.wire import Page, cursor_of, next_cursor

PRODUCTS, DEALS = Slots.of("products"), Slots.of("deals")
PAGES_IN_MEMORY = 500
TIMELINES_IN_MEMORY = 100
MOST_MOMENTS = 32  # in one timeline; where deals open more often, it only reaches less far
FURTHER_S = 30  # than it is kept a timeline reaches, so that it is refreshed before it ends
LOOKED_AFTER_EVERY_S = 1

# Those that everybody opens.
FIRST_PRODUCTS = ProductsQuery().asked()
FIRST_DEALS = [DealsQuery().asked("open"), DealsQuery().asked("upcoming")]

FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Lists:
    def __init__(
        self, db: Database, redis: Redis, lease: Lease, clock: Clock, *, ttl_s: float
    ) -> None:
        self._db = db
        self._lease = lease
        self._clock = clock
        self._reach_s = ttl_s + FURTHER_S
        self._alone = False  # PostgreSQL did not answer when it was last asked for the lease
        slots = lease.slots
        self.products: Cache[ProductsAsked, Listing] = Cache(
            f"catalog:{lease.lineage}:products:1",
            self._make_products,
            type=Listing,
            redis=redis,
            ttl_s=ttl_s,
            size=PAGES_IN_MEMORY,
            noted=lambda: slots.noted,
            fresh=lambda _, noted: slots.unchanged(PRODUCTS, noted),
        )
        self.deals: Cache[DealsAsked, Timeline] = Cache(
            f"catalog:{lease.lineage}:deals:2",
            self._make_deals,
            type=Timeline,
            redis=redis,
            ttl_s=ttl_s,
            size=TIMELINES_IN_MEMORY,
            noted=lambda: slots.noted,
            fresh=lambda timeline, noted: (
                slots.unchanged(DEALS, noted) and clock.now() < timeline.until
            ),
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls, db: Database, redis: Redis, lease: Lease, clock: Clock, *, ttl_s: float
    ) -> AsyncIterator[Self]:
        opened = cls(db, redis, lease, clock, ttl_s=ttl_s)
        await opened._look_after()
        looking = asyncio.create_task(opened._look_after_for_ever(), name="lists")
        try:
            yield opened
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await opened.products.aclose()
            await opened.deals.aclose()

    async def show_products(self, asked: ProductsAsked) -> Listing:
        if not self._lease.held:
            await self._learn_of_changes()
        return await self.products.get(asked)

    async def show_deals(self, asked: DealsAsked) -> Listing:
        if not self._lease.held:
            await self._learn_of_changes()
        return (await self.deals.get(asked)).at(self._clock.now())

    async def _learn_of_changes(self) -> None:
        """Whoever comes while PostgreSQL is known to be away does not wait for it once more."""
        if not self._alone:
            with suppress(BusyError):
                await self._lease.confirm()

    async def _look_after_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_AFTER_EVERY_S)
            await self._look_after()

    async def _look_after(self) -> None:
        """Ask for the lease, and have the first pages made where they do not count any more."""
        try:
            await self._lease.confirm()
        except BusyError:
            self._alone = True
            return
        self._alone = False
        with suppress(BusyError):
            await self.products.get(FIRST_PRODUCTS)
            for page in FIRST_DEALS:
                await self.deals.get(page)

    async def _make_products(self, asked: ProductsAsked) -> Listing:
        async with self._db.connection() as db:
            ids = await _select_ids(db, asked)
            rows = {row.id: row for row in await queries.select_products(db, ids)}
            total, exact = await _select_total(db, asked)
        # One that was removed since its id was read is left out, and the page is not the last for it.
        products = [ProductOut(**rows[one]._asdict()) for one in ids if one in rows]
        goes_on = len(ids) == asked.limit and products
        page = ProductsPage(
            data=products,
            next_cursor=cursor_of(asked.position(products[-1])) if goes_on else None,
            total=total,
            total_exact=exact,
        )
        return await asyncio.to_thread(listing_of, page.model_dump_json().encode())

    async def _make_deals(self, asked: DealsAsked) -> Timeline:
        open_now = asked.state == "open"
        select = queries.select_deals_open if open_now else queries.select_deals_upcoming
        after, after_id = asked.after or (LONG_AGO, FIRST_ID)
        async with self._db.connection() as db:
            moments = await queries.select_moments(
                db, within_s=self._reach_s, most=MOST_MOMENTS + 1
            )
            until = moments[0] + timedelta(seconds=self._reach_s)
            if len(moments) > MOST_MOMENTS:
                until = moments.pop()
            rows = await select(
                db, moments=moments, after=after, after_id=after_id, most=asked.limit
            )
        return await asyncio.to_thread(_timeline, asked, rows, moments, until)


def _timeline(
    asked: DealsAsked, rows: list[queries.DealThen], moments: list[datetime], until: datetime
) -> Timeline:
    """Of pages that follow each other and are the same, the first."""
    pages = {moment: list(page) for moment, page in groupby(rows, lambda row: row.moment)}
    timeline = Timeline([], [], until.timestamp())
    last = b""
    for moment in moments:
        body = _deals_page(asked, pages.get(moment, []))
        if body != last:
            timeline.moments.append(moment.timestamp())
            timeline.listings.append(listing_of(body))
            last = body
    return timeline


def _deals_page(asked: DealsAsked, rows: list[queries.DealThen]) -> bytes:
    deals = [DealOut(**row._asdict()) for row in rows]
    position = next_cursor(deals, asked.limit, asked.position)
    return Page[DealOut](data=deals, next_cursor=position).model_dump_json().encode()


async def _select_ids(db: Executor, asked: ProductsAsked) -> list[UUID]:
    """A page's products in their order, each order from its own index."""
    key, product_id = asked.after or _beginning_of(asked)
    window: dict[str, Any] = {"skip": asked.skip, "most": asked.limit}
    select: Callable[..., Awaitable[list[UUID]]]
    of_category: Callable[..., Awaitable[list[UUID]]]
    match asked.sort:
        case "newest":
            select, of_category = queries.select_newest, queries.select_newest_of_category
            window |= {"before_id": product_id}
        case "price":
            select, of_category = queries.select_cheapest, queries.select_cheapest_of_category
            window |= {"after_krw": key, "after_id": product_id, "price_to": asked.price_to}
        case "-price":
            select, of_category = queries.select_dearest, queries.select_dearest_of_category
            window |= {"before_krw": key, "before_id": product_id, "price_from": asked.price_from}
        case "name":
            select, of_category = queries.select_by_name, queries.select_by_name_of_category
            window |= {"after_name": key, "after_id": product_id}
    if asked.category is None:
        return await select(db, **window)
    return await of_category(db, category=asked.category, **window)


def _beginning_of(asked: ProductsAsked) -> tuple[Any, UUID]:
    """The position before the first product: an id is never one of these."""
    match asked.sort:
        case "newest":
            return None, LAST_ID
        case "price":
            return asked.price_from, FIRST_ID
        case "-price":
            return asked.price_to, LAST_ID
        case "name":
            return "", FIRST_ID


async def _select_total(db: Executor, asked: ProductsAsked) -> tuple[int, bool]:
    """How many there are, and whether that is all: only prices are counted, and only so far."""
    if not asked.within_prices:
        return await queries.select_total(db, asked.category), True
    prices = {"price_from": asked.price_from, "price_to": asked.price_to, "most": COUNTED_TO + 1}
    if asked.category is None:
        counted = await queries.select_total_of_prices(db, **prices)
    else:
        counted = await queries.select_total_of_prices_of_category(
            db, category=asked.category, **prices
        )
    return min(counted, COUNTED_TO), counted <= COUNTED_TO
