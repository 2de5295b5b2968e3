"""Among many requests of weeks each statement finds its own by an index, planned with or without
statistics, for its parameters or for any.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from holdfast.apps.orders.requests import queries
from holdfast.apps.orders.requests.actions import AT_ONCE, MOST_WAITING
from holdfast.apps.orders.tests.explained import Explained

Ask = Callable[[Explained], Awaitable[Any]]

DECIDED, WAITING = 60_000, 600
FILL = """
INSERT INTO order_requests
  (customer_id, key, digest, items, state, problem, requested_at, decided_at)
SELECT uuidv7(), n::text, '', '[]', 'refused', '{}', now(), now() FROM generate_series(1, $1) AS n
"""
ADD = """
INSERT INTO order_requests (customer_id, key, digest, items, requested_at)
SELECT uuidv7(), n::text, '', '[]', now() FROM generate_series(1, $1) AS n
RETURNING id
"""
PLACED = """
INSERT INTO orders (customer_id, key, digest, total_krw, held_until)
SELECT customer_id, key, '', 1000, now() FROM order_requests WHERE state = 'waiting'
"""
PARTITION = "SELECT tableoid::regclass::text FROM order_requests LIMIT 1"
MARK = 60 * AT_ONCE


def statements(ids: list[UUID]) -> dict[str, tuple[Ask, int]]:
    """What is asked, and how many pages it may look at."""
    some = range(AT_ONCE)
    new: dict[str, Any] = {
        "ns": some,
        "customer_ids": [uuid4() for _ in some],
        "keys": [str(n) for n in some],
        "digests": [b""] * AT_ONCE,
        "items": ["[]"] * AT_ONCE,
        "most": MOST_WAITING,
    }
    marks: dict[str, Any] = {"ids": ids[:AT_ONCE], "oldest": datetime(2020, 1, 1, tzinfo=UTC)}
    one: dict[str, Any] = {"request_id": ids[0], "customer_id": uuid4()}
    return {
        "insert_requests": (partial(queries.insert_requests, **new), 50 * AT_ONCE),
        "select_requests_waiting": (
            partial(queries.select_requests_waiting, aside=["[]"], most=AT_ONCE),
            3 * WAITING,
        ),
        "update_requests_placed": (partial(queries.update_requests_placed, **marks), MARK),
        "update_requests_refused": (
            partial(queries.update_requests_refused, **marks, problem="{}"),
            MARK,
        ),
        "update_requests_failed": (partial(queries.update_requests_failed, **marks), MARK),
        "show_request": (partial(queries.select_request, **one), 20),
        "select_requests_decided": (
            partial(queries.select_requests_decided, ids=ids[:100]),
            20 * 100,
        ),
    }


async def wrong(explained: Explained, ids: list[UUID]) -> list[str]:
    found = []
    for name, (ask, most_pages) in statements(ids).items():
        await ask(explained)
        plan = explained.plans.pop()
        # A plan for these parameters is made again each time: it may read what is empty.
        if explained.generic and any("order_requests" in table for table in plan.read_whole):
            found.append(f"{name} reads a whole partition")
        if plan.pages > most_pages:
            found.append(f"{name}: {plan.pages} pages")
    return found


async def test_no_statement_about_requests_reads_more_than_it_answers(
    db: asyncpg.Connection,
) -> None:
    """Nor does one by a plan that was made when there were hardly any."""
    ids = [row["id"] for row in await db.fetch(ADD, WAITING)]
    await db.execute(PLACED)
    at_first = await wrong(Explained(db, generic=True), ids)
    await db.execute(FILL, DECIDED)
    await db.execute(f"ANALYZE {await db.fetchval(PARTITION)}")
    later = [await wrong(Explained(db, generic=generic), ids) for generic in (False, True)]
    assert (at_first, later) == ([], [[], []])
