"""Orders looked up among ten million: by id, by key, by customer, by status and date.

Claim: whatever is asked of the orders, and with whichever filters, PostgreSQL looks at about as many
pages as the answer has orders, times ten; and a page of orders with their items is one statement.
Target: the 95th percentile of every read below 5 ms in the database, at ten million orders.
What bounds it: pages that are not in memory.

The rows are put into the real tables. Then the list by status and date is asked again without its
index, and with the one on the status that one would make first; the list of one customer with its
items is compared with one statement for the orders and one more for each; and batches of 512 orders
are inserted with and without the indexes that only lists use, because buyers pay for those. What is
dropped or inserted for this is rolled back.
"""

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from tempfile import gettempdir
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from holdfast.apps.orders.placing.queries import insert_orders
from holdfast.apps.orders.proof.queries import select_ledger, select_winners
from holdfast.apps.orders.records import queries
from holdfast.apps.orders.records.schemas import STATUSES
from holdfast.apps.orders.tests.explained import Explained, Plan
from holdfast.apps.orders.tests.many import COLLECTOR, Many
from lab.load import quantile
from lab.machine import Moment, Use
from lab.result import Lab, Result, Target

ORDERS = 10_000_000
NEEDED_GIB = 20
EXPLAINED, EXPLAINED_SLOW, ASKED = 300, 3, 200
BATCH, BATCHES = 512, 12
WANTED_P95_MS = 5
PAGE, LARGEST_PAGE = 20, 100
N_PLUS_1 = (20, 50)

# As an object mapper asks when nobody told it to load the items with their orders.
WITHOUT_ITEMS = queries.SELECT_ORDERS_OF_CUSTOMER.replace(
    "(SELECT items FROM baskets WHERE order_id = orders.id)", "NULL"
)
ITEMS = """
SELECT offer_id, name, quantity, unit_price_krw, place
FROM order_items WHERE order_id = $1 ORDER BY line
"""
SIZES = """
SELECT relname, pg_table_size(oid) AS heap, pg_indexes_size(oid) AS indexes
FROM pg_class WHERE oid IN ('orders'::regclass, 'order_items'::regclass)
"""
BY_STATUS_AND_DATE = f"list_all_orders by status and date, {PAGE}"
LISTS_ONLY = ("orders_by_status", "orders_of_customer")

Asked = dict[str, Any]
Ask = Callable[[Any], Awaitable[Any]]
Plans = Sequence[Plan]


class NoRoomError(Exception):
    """The temporary folder has too little room for ten million orders and their log."""


@dataclass(frozen=True)
class Found:
    plans: Mapping[str, Plans]
    insertions: Mapping[str, Plans]
    lists_s: Mapping[tuple[str, int], Sequence[float]]  # round trips, by way and page size
    sizes: Mapping[str, Any]
    filled_s: float
    use: Use


def measure(lab: Lab) -> Result:
    free_gib = shutil.disk_usage(gettempdir()).free / 2**30
    if free_gib < NEEDED_GIB:
        raise NoRoomError(f"{gettempdir()} has {free_gib:.0f} GiB free; {NEEDED_GIB} are needed.")
    with lab.stack.database("orders") as environ:
        return asyncio.run(_measure(lab, environ["DATABASE_URL"]))


async def _measure(lab: Lab, url: str) -> Result:
    owner = await asyncpg.connect(url, server_settings={"search_path": "orders,public"})
    try:
        lab.say(f"filling in {ORDERS:,} orders")
        began = perf_counter()
        many = await Many.fill(owner, ORDERS)
        filled_s = perf_counter() - began
        await owner.execute("CHECKPOINT")
        before = Moment.now(lab.stack.watched)
        lab.say("asking, as Holdfast does")
        plans = {name: await _explain(owner, asks) for name, asks in _reads(many).items()}
        plans |= await _without_index(lab, owner, many)
        lab.say("one statement, or one more for each order")
        lists_s = {
            (way, size): await _list(owner, ask, size)
            for size in N_PLUS_1
            for way, ask in (("one statement", _one_statement), ("N+1", _n_plus_1))
        }
        insertions = await _insert(lab, owner, many)
        sizes = {row["relname"]: dict(row) for row in await owner.fetch(SIZES)}
        use = Moment.now(lab.stack.watched).since(before)
    finally:
        await owner.close()
    return _result(Found(plans, insertions, lists_s, sizes, filled_s, use))


def _reads(many: Many) -> dict[str, list[Ask]]:
    """Each read, of different orders."""
    chosen = random.Random(1)
    some = [chosen.randint(1, many.number) for _ in range(EXPLAINED)]
    mine, everybody = queries.select_orders_of_customer, queries.select_orders_of_everybody
    customer, offer = many.customer_id, many.offer_id
    all_of: Asked = {"placed_from": datetime(1, 1, 1, tzinfo=UTC), **_before(datetime.now(UTC))}
    paid: Asked = {"statuses": ["paid"]}
    any_status: Asked = {"statuses": STATUSES}
    return {
        "show_order": [
            partial(queries.select_order, order_id=many.order_id(n), customer_id=customer(n))
            for n in some
        ],
        "show_order_by_key": [
            partial(queries.select_order_by_key, key=many.key(n), customer_id=customer(n))
            for n in some
        ],
        f"list_orders, {PAGE}": [
            partial(mine, customer_id=customer(n), **all_of, **any_status, most=PAGE) for n in some
        ],
        f"list_orders by status, {PAGE}": [
            partial(mine, customer_id=customer(n), **all_of, **paid, most=PAGE) for n in some
        ],
        f"list_orders by date, {PAGE}": [
            partial(mine, customer_id=customer(n), **_until(many, n), **any_status, most=PAGE)
            for n in some
        ],
        f"list_orders, {LARGEST_PAGE} paid of 100,000": [
            partial(mine, customer_id=COLLECTOR, **_until(many, n, 365), **paid, most=LARGEST_PAGE)
            for n in some
        ],
        f"list_all_orders, {LARGEST_PAGE}": [
            partial(everybody, **_until(many, n), **any_status, most=LARGEST_PAGE) for n in some
        ],
        BY_STATUS_AND_DATE: [_by_status_and_date(many, n) for n in some],
        f"list_winners, {LARGEST_PAGE}": [
            partial(select_winners, offer_id=offer(n), after=n % 20_000, most=LARGEST_PAGE)
            for n in some
        ],
        "show_ledger": [partial(select_ledger, offer_id=offer(n)) for n in some],
    }


def _by_status_and_date(many: Many, n: int) -> Ask:
    return partial(
        queries.select_orders_of_everybody,
        **_until(many, n, 1),
        statuses=["expired"],
        most=PAGE,
    )


def _until(many: Many, n: int, days: int = 30) -> Asked:
    at = many.placed_at(n)
    return {"placed_from": at - timedelta(days=days), **_before(at)}


def _before(at: datetime) -> Asked:
    return {"before": at, "before_id": UUID(int=0)}


async def _explain(owner: Any, asks: Sequence[Ask]) -> Plans:
    explained = Explained(owner)
    for ask in asks:
        await ask(explained)
    return explained.plans


async def _without_index(lab: Lab, owner: Any, many: Many) -> dict[str, Plans]:
    chosen = random.Random(2)
    some = [chosen.randint(1, many.number) for _ in range(EXPLAINED)]
    asks = [_by_status_and_date(many, n) for n in some]
    undone = owner.transaction()
    await undone.start()
    try:
        lab.say("by status and date, without the index")
        await owner.execute("DROP INDEX orders_by_status")
        none = await _explain(owner, asks[:EXPLAINED_SLOW])
        lab.say("with an index on the status")
        await owner.execute("SET LOCAL maintenance_work_mem = '512MB'")
        await owner.execute("CREATE INDEX orders_by_status_alone ON orders (status)")
        alone = await _explain(owner, asks[:EXPLAINED_SLOW])
    finally:
        await undone.rollback()
    return {"the same without an index": none, "the same by an index on the status": alone}


async def _list(
    owner: Any, ask: Callable[[Any, int], Awaitable[int]], size: int
) -> Sequence[float]:
    """Round trips of one client."""
    taken = []
    for _ in range(ASKED):
        began = perf_counter()
        number = await ask(owner, size)
        taken.append(perf_counter() - began)
        if number != size:
            raise LookupError(f"{number} orders instead of {size} were found.")
    return taken


def _collectors(size: int) -> tuple[Any, ...]:
    began, now = datetime(1, 1, 1, tzinfo=UTC), datetime.now(UTC)
    return (STATUSES, COLLECTOR, began, now, UUID(int=0), size)


async def _one_statement(owner: Any, size: int) -> int:
    return len(await owner.fetch(queries.SELECT_ORDERS_OF_CUSTOMER, *_collectors(size)))


async def _n_plus_1(owner: Any, size: int) -> int:
    orders = await owner.fetch(WITHOUT_ITEMS, *_collectors(size))
    return sum([bool(await owner.fetch(ITEMS, order["id"])) for order in orders])


async def _insert(lab: Lab, owner: Any, many: Many) -> dict[str, Plans]:
    """Batches of orders, with all indexes and without those that lists are read by."""
    found = {}
    for dropped in ("", *LISTS_ONLY):
        lab.say(f"inserting{f' without {dropped}' if dropped else ''}")
        undone = owner.transaction()
        await undone.start()
        try:
            if dropped:
                await owner.execute(f"DROP INDEX {dropped}")
            batches = [_batch(many.offer_id(1), n * BATCH) for n in range(BATCHES + 1)]
            found[f"without {dropped}" if dropped else "all indexes"] = (
                await _explain(owner, batches)
            )[1:]
        finally:
            await undone.rollback()
    return found


def _batch(offer_id: UUID, places_from: int) -> Ask:
    return partial(
        insert_orders,
        hold=timedelta(minutes=10),
        ns=range(BATCH),
        customer_ids=[uuid4() for _ in range(BATCH)],
        keys=[str(uuid4()) for _ in range(BATCH)],
        digests=[bytes(16)] * BATCH,
        totals_krw=[1000] * BATCH,
        item_ns=range(BATCH),
        lines=[0] * BATCH,
        offer_ids=[offer_id] * BATCH,
        places=range(ORDERS + places_from, ORDERS + places_from + BATCH),
        quantities=[1] * BATCH,
    )


def _result(found: Found) -> Result:
    ours = {name: plans for name, plans in found.plans.items() if len(plans) == EXPLAINED}
    slowest = max(ours, key=lambda name: _ms(ours[name], 0.95))
    times = {
        size: median(found.lists_s["N+1", size]) / median(found.lists_s["one statement", size])
        for size in N_PLUS_1
    }
    by_index = _ms(found.plans[BY_STATUS_AND_DATE], 0.5)
    return Result(
        columns=("what", "pages", "p50 ms", "p95 ms"),
        rows=[
            *(_row(name, plans) for name, plans in found.plans.items()),
            *(_row(f"insert {BATCH} orders, {name}", it) for name, it in found.insertions.items()),
            *(
                [f"{size} orders with items, {way}, round trip", "", *_round_trips(taken)]
                for (way, size), taken in found.lists_s.items()
            ),
        ],
        targets=[
            Target(
                f"slowest read among {ORDERS:,} orders, p95 in the database ({slowest})",
                f"< {WANTED_P95_MS} ms",
                f"{_ms(ours[slowest], 0.95):.2f} ms",
                _ms(ours[slowest], 0.95) < WANTED_P95_MS,
            ),
            *(
                Target(
                    f"by status and date, times as long {how}",
                    "",
                    f"{_ms(found.plans[f'the same {how}'], 0.5) / by_index:,.0f}",
                    None,
                )
                for how in ("without an index", "by an index on the status")
            ),
            *(
                Target(f"{size} orders, N+1 to one statement", "", f"{each:.1f}", None)
                for size, each in times.items()
            ),
        ],
        others=found.use.others,
        notes=_notes(found),
        raw={
            "execution_ms": {
                name: [plan.ms for plan in plans]
                for name, plans in (*found.plans.items(), *found.insertions.items())
            },
            "round_trips_ms": {
                f"{way}, {size}": [1000 * each for each in taken]
                for (way, size), taken in found.lists_s.items()
            },
            "a_plan": {name: plans[-1].top for name, plans in found.plans.items()},
            "sizes": found.sizes,
            "use": vars(found.use),
        },
    )


def _notes(found: Found) -> list[str]:
    told = [
        f"{name} {size['heap'] / 2**20:,.0f} MiB, its indexes {size['indexes'] / 2**20:,.0f} MiB"
        for name, size in found.sizes.items()
    ]
    return [
        f"{'; '.join(told)}; filled in {found.filled_s:.0f} s. EXPLAIN's own clock adds to all but the round trips.",
        "Round trips are over the loopback; elsewhere N+1 adds the way to the database N times.",
        (
            f"Meanwhile other programs took {100 * found.use.others:.0f} % of a core, pressure"
            f" {100 * found.use.pressure:.0f} %."
        ),
    ]


def _row(name: str, plans: Plans) -> list[str]:
    pages = median(plan.pages for plan in plans)
    return [name, f"{pages:,.0f}", f"{_ms(plans, 0.5):.3f}", f"{_ms(plans, 0.95):.3f}"]


def _round_trips(taken: Sequence[float]) -> list[str]:
    return [f"{1000 * quantile(taken, q):.3f}" for q in (0.5, 0.95)]


def _ms(plans: Plans, q: float) -> float:
    return quantile([plan.ms for plan in plans], q)
