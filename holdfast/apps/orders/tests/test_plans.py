"""Among a million orders every read and every statement of placing is found by an index.

Each is planned for its parameters and for any parameters alike, because a prepared statement may
run by either; and few pages are looked at, because an index may be used and still be the wrong one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from holdfast.apps.orders.placing.queries import insert_orders, lock_offers, select_history
from holdfast.apps.orders.proof.queries import select_ledger, select_winners
from holdfast.apps.orders.records.queries import (
    select_order,
    select_order_by_key,
    select_orders,
    select_orders_of_customer,
    select_orders_of_everybody,
)
from holdfast.apps.orders.records.schemas import STATUSES
from holdfast.apps.orders.tests.explained import Explained
from holdfast.apps.orders.tests.many import COLLECTOR, Many
from holdfast.apps.orders.tests.shop import Shop

ORDERS = 1_000_000
SOME = 500_003  # an order in the middle
BATCH = 512
OFFER = Many.offer_id(SOME)
LARGE = {"orders", "order_items", "offers"}
Asked = dict[str, Any]
Ask = Callable[[Explained], Awaitable[Any]]
Questions = Callable[[Many], dict[str, tuple[Ask, int]]]
ALL: Asked = {
    "statuses": STATUSES,
    "placed_from": datetime(1, 1, 1, tzinfo=UTC),
    "before": datetime(9999, 1, 1, tzinfo=UTC),
    "before_id": UUID(int=0),
}


@pytest.fixture(scope="module")
def filled(postgres_url: str, template_url: str) -> Iterator[tuple[str, Many]]:
    name = "a_million_orders"
    url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))

    async def fill() -> Many:
        template = urlsplit(template_url).path.removeprefix("/")
        await _run(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
        owner = await asyncpg.connect(url, server_settings={"search_path": "orders"})
        try:
            return await Many.fill(owner, ORDERS)
        finally:
            await owner.close()

    yield url, asyncio.run(fill())
    asyncio.run(_run(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


@pytest.fixture
def many(filled: tuple[str, Many]) -> Many:
    return filled[1]


@pytest.fixture
async def owner(filled: tuple[str, Many]) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(filled[0], server_settings={"search_path": "orders"})
    yield connection
    await connection.close()


def reads(many: Many) -> dict[str, tuple[Ask, int]]:
    """What is asked, and how many pages it may look at: ten an order, and some to find the first."""
    mine: Asked = {"customer_id": many.customer_id(SOME)}
    collectors: Asked = {"customer_id": COLLECTOR}
    week: Asked = {
        "placed_from": many.placed_at(SOME) - timedelta(days=7),
        "before": many.placed_at(SOME),
    }
    paid, expired = {"statuses": ["paid"]}, {"statuses": ["expired"]}
    listed, all_listed = select_orders_of_customer, select_orders_of_everybody
    return {
        "select_orders": (partial(select_orders, ids=[many.order_id(SOME)]), 20),
        "show_order": (partial(select_order, order_id=many.order_id(SOME), **mine), 20),
        "show_order_by_key": (partial(select_order_by_key, key=many.key(SOME), **mine), 20),
        "list_orders": (partial(listed, **ALL, **mine, most=20), 250),
        "list_orders, status": (partial(listed, **ALL | paid, **mine, most=20), 250),
        "list_orders, dates": (partial(listed, **ALL | week, **mine, most=20), 250),
        "list_orders, of 10,000": (partial(listed, **ALL, **collectors, most=100), 1100),
        "list_orders, few of 10,000": (partial(listed, **ALL | paid, **collectors, most=100), 1100),
        "list_orders, dates of 10,000": (partial(listed, **ALL | week, **collectors, most=20), 250),
        "list_all_orders": (partial(all_listed, **ALL, most=100), 1100),
        "list_all_orders, status": (partial(all_listed, **ALL | expired, most=20), 250),
        "list_all_orders, dates": (partial(all_listed, **ALL | week, most=20), 250),
        "list_all_orders, both": (partial(all_listed, **ALL | week | expired, most=20), 250),
        "list_winners": (partial(select_winners, offer_id=OFFER, after=1000, most=100), 600),
        "show_ledger": (partial(select_ledger, offer_id=OFFER), 5),
    }


def writes(many: Many) -> dict[str, tuple[Ask, int]]:
    """A batch of orders for one offer; half of them by customers who have bought before."""
    numbers = range(SOME, SOME + BATCH)
    known: Asked = {
        "ns": range(BATCH),
        "customer_ids": [many.customer_id(n) if n % 2 else uuid4() for n in numbers],
        "keys": [many.key(n) for n in numbers],
    }
    new: Asked = {
        "hold": timedelta(minutes=10),
        "ns": range(BATCH),
        "customer_ids": [uuid4() for _ in numbers],
        "keys": [str(uuid4()) for _ in numbers],
        "digests": [bytes(16)] * BATCH,
        "totals_krw": [1000] * BATCH,
        "item_ns": range(BATCH),
        "lines": [0] * BATCH,
        "offer_ids": [OFFER] * BATCH,
        "places": range(ORDERS, ORDERS + BATCH),
        "quantities": [1] * BATCH,
    }
    return {
        "lock_offers": (partial(lock_offers, ids=[OFFER]), 10),
        "select_history": (
            partial(select_history, **known, limited_ids=[OFFER] * BATCH),
            15 * BATCH,
        ),
        "select_history, no limit": (
            partial(select_history, **known, limited_ids=[None] * BATCH),
            10 * BATCH,
        ),
        "insert_orders": (partial(insert_orders, **new), 50 * BATCH),
    }


@pytest.mark.parametrize("generic", [False, True], ids=["these parameters", "any parameters"])
@pytest.mark.parametrize("questions", [reads, writes])
async def test_no_statement_reads_more_than_it_answers(
    owner: asyncpg.Connection, many: Many, questions: Questions, *, generic: bool
) -> None:
    wrong = []
    for name, (ask, most_pages) in questions(many).items():
        explained = Explained(owner, generic=generic)
        await ask(explained)
        (plan,) = explained.plans
        if plan.read_whole & LARGE or plan.pages > most_pages:
            wrong.append(f"{name}: {plan.pages} pages, all of {plan.read_whole or 'nothing'}")
    assert not wrong, "\n".join(wrong)


async def test_a_plan_made_before_the_first_order_is_good_for_a_million(
    db: asyncpg.Connection,
) -> None:
    """A worker keeps the plans that it made while there was nothing to count yet. Offers may then be
    read whole for a minute, until statistics are made: they are few, and lie close together.
    """
    empty = Many(ORDERS, 0)
    wrong = []
    for name, (ask, _) in (reads(empty) | writes(empty)).items():
        explained = Explained(db, generic=True)
        await ask(explained)
        (plan,) = explained.plans
        if plan.read_whole & {"orders", "order_items"}:
            wrong.append(f"{name} reads all of {plan.read_whole}")
    assert not wrong, "\n".join(wrong)


async def test_without_its_index_a_list_reads_everything(
    owner: asyncpg.Connection, many: Many
) -> None:
    undone = owner.transaction()
    await undone.start()
    try:
        await owner.execute("DROP INDEX orders_by_status")
        explained = Explained(owner)
        ask, most_pages = reads(many)["list_all_orders, both"]
        await ask(explained)
    finally:
        await undone.rollback()
    (plan,) = explained.plans
    assert plan.pages > 10 * most_pages
    assert "orders" in plan.read_whole


async def test_placing_is_not_planned_for_tables_that_were_empty(
    shop: Shop, db: asyncpg.Connection
) -> None:
    """Whoever analyses a new database tells the planner that there is nothing to find, and a worker
    keeps what it has planned then.
    """
    offer_id = await shop.offer()
    await db.execute("ANALYZE orders, order_items")
    async with db.transaction():
        await lock_offers(db, [offer_id])
        explained = Explained(db, generic=True)
        await select_history(
            explained, ns=[1], customer_ids=[uuid4()], keys=["k"], limited_ids=[None]
        )
    (plan,) = explained.plans
    assert plan.read_whole == set()
    assert "orders_customer_id_key_key" in plan.indexes
