"""Orders are looked up: by their own customers, by those who may see all, and by nobody else."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

import asyncpg
import pytest

from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.tests.serving import Answer, Client
from holdfast.core.wire import cursor_of

ORDERS = "/api/v1/orders"
ALL = "/api/v1/admin/orders"
STATEMENTS = """
SELECT coalesce(sum(calls), 0)::int
FROM public.pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%'
"""


def ids(answer: Answer) -> list[str]:
    return [order["id"] for order in answer.data]


async def look(api: Client, path: str, token: str | None, **asked: Any) -> Answer:
    return await api.call("GET", f"{path}?{urlencode(asked)}", token=token)


async def pages(api: Client, path: str, token: str, **asked: Any) -> list[str]:
    """The ids of a whole list, read page by page."""
    found: list[str] = []
    while True:
        answer = await look(api, path, token, **asked)
        assert answer.status == 200, answer.body
        found += ids(answer)
        if answer.body["next_cursor"] is None:
            return found
        asked["cursor"] = answer.body["next_cursor"]


@pytest.fixture
def place(shop: Shop, db: asyncpg.Connection) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Buys something; then the order is made to have another status, or to be older."""

    async def buy(token: str, status: str = "reserved", days_ago: float = 0) -> dict[str, Any]:
        offers = [await shop.offer(), await shop.offer(price_krw=250)]
        placed = await shop.buy(*offers, token=token)
        assert placed.status == 201
        await db.execute(
            "UPDATE orders SET status = $2, placed_at = placed_at - $3 * interval '1 day' WHERE id = $1",
            UUID(placed.data["id"]),
            status,
            days_ago,
        )
        shown = await shop.api.call("GET", f"{ORDERS}/{placed.data['id']}", token=token)
        order: dict[str, Any] = shown.data
        return order

    return buy


Place = Callable[..., Awaitable[dict[str, Any]]]


async def test_show_order_is_what_was_placed(shop: Shop) -> None:
    token = shop.issuer.token()
    placed = await shop.buy(await shop.offer(), await shop.offer(price_krw=250), token=token)
    shown = await shop.api.call("GET", placed.headers["Location"], token=token)
    assert (shown.status, shown.body) == (200, placed.body)


async def test_show_order_of_somebody_else_is_not_there(shop: Shop) -> None:
    placed = await shop.buy(await shop.offer())
    for path in (f"{ORDERS}/{placed.data['id']}", f"{ORDERS}/{uuid4()}"):
        refused = await shop.api.call("GET", path, token=shop.issuer.token())
        assert (refused.status, refused.body["type"]) == (404, "/problems/no-such-order")
    assert (await shop.api.call("GET", placed.headers["Location"])).status == 401
    odd = await shop.api.call("GET", f"{ORDERS}/first", token=shop.issuer.token())
    assert odd.status == 422


@pytest.mark.parametrize(
    "key",
    [
        *("receipt", "payment", "a/b", "/", "//", "a/../b", "...", "%", "%2F", "%00", "?a=b#c"),
        *("+", "&=;,:@$!*'()~", '<"\\^`{|}>', "0", "null", "!" * 255),
    ],
)
async def test_show_order_by_key_finds_odd_keys(shop: Shop, key: str) -> None:
    token = shop.issuer.token()
    placed = await shop.buy(await shop.offer(), token=token, key=key)
    assert placed.status == 201
    path = f"{ORDERS}/by-key/{quote(key, safe='')}"
    found = await shop.api.call("GET", path, token=token)
    assert (found.status, found.body) == (200, placed.body)
    assert (await shop.api.call("GET", path, token=shop.issuer.token())).status == 404
    assert (await shop.api.call("GET", path)).status == 401


@pytest.mark.parametrize("key", ["", "%20", "%00", "%0A", "%C3%A9", "%FF", "x" * 256])
async def test_show_order_by_key_refuses_what_no_key_can_be(shop: Shop, key: str) -> None:
    refused = await shop.api.call("GET", f"{ORDERS}/by-key/{key}", token=shop.issuer.token())
    assert refused.status == 422


async def test_show_order_by_key_tells_whether_anything_was_placed(shop: Shop) -> None:
    token, key = shop.issuer.token(), str(uuid4())
    refused = await shop.buy(await shop.offer(stock=0), token=token, key=key)
    assert refused.status == 409
    assert (await shop.api.call("GET", f"{ORDERS}/by-key/{key}", token=token)).status == 404


async def test_list_orders_newest_first_and_page_by_page(shop: Shop, place: Place) -> None:
    token = shop.issuer.token()
    placed = [await place(token, days_ago=days) for days in (3, 2, 1, 0, 0)]
    await place(shop.issuer.token())
    expected = [order["id"] for order in reversed(placed)]
    answer = await look(shop.api, ORDERS, token)
    assert (answer.status, ids(answer)) == (200, expected)
    assert answer.data == placed[::-1]
    assert answer.body["next_cursor"] is None
    for limit in (1, 2, 4, 5):
        assert await pages(shop.api, ORDERS, token, limit=limit) == expected


async def test_list_orders_placed_at_the_same_moment_are_told_once_each(
    shop: Shop, place: Place, db: asyncpg.Connection
) -> None:
    token = shop.issuer.token()
    placed = {(await place(token, status))["id"] for status in ("paid", "cancelled") * 4}
    await db.execute("UPDATE orders SET placed_at = now()")
    for limit in (1, 3):
        found = await pages(shop.api, ORDERS, token, limit=limit)
        assert (len(found), set(found)) == (8, placed)


async def test_list_orders_by_status_and_date(shop: Shop, place: Place) -> None:
    token = shop.issuer.token()
    states = ("paid", "cancelled", "paid", "expired", "reserved", "refunded")
    placed = [await place(token, status, days_ago=6 - n) for n, status in enumerate(states)]
    at = [order["placed_at"] for order in placed]

    async def numbers(**asked: Any) -> list[int]:
        found = await pages(shop.api, ORDERS, token, limit=2, **asked)
        return [[order["id"] for order in placed].index(each) for each in found]

    assert await numbers(status="paid") == [2, 0]
    assert await numbers(placed_from=at[3]) == [5, 4, 3]
    assert await numbers(placed_to=at[3]) == [2, 1, 0]
    assert await numbers(placed_from=at[1], placed_to=at[5]) == [4, 3, 2, 1]
    assert await numbers(status="paid", placed_from=at[1], placed_to=at[5]) == [2]
    assert await numbers(placed_from=at[3], placed_to=at[3]) == []
    in_seoul = datetime.fromisoformat(at[3]).astimezone(timezone(timedelta(hours=9)))
    assert await numbers(placed_from=in_seoul.isoformat()) == [5, 4, 3]


@pytest.mark.parametrize(
    "asked",
    [
        {"status": "lost"},
        {"status": ""},
        {"placed_from": "2027-03-01T09:30:00"},
        {"placed_from": "2027-03-01"},
        {"placed_from": "1772357400"},
        {"placed_to": "0001-01-01T00:00:00+14:00"},
        {"placed_to": "9999-12-31T23:59:59-14:00"},
        {"limit": 0},
        {"limit": 101},
        {"customer_id": str(uuid4())},
        {"cursor": "invented"},
        {"cursor": cursor_of(7)},
        {"cursor": cursor_of(["2027-03-01T09:30:00", str(uuid4())])},
    ],
)
async def test_list_orders_refuses_what_it_does_not_know(shop: Shop, asked: dict[str, str]) -> None:
    refused = await look(shop.api, ORDERS, shop.issuer.token(), **asked)
    assert (refused.status, refused.body["type"]) == (422, "/problems/invalid")
    assert [error["field"] for error in refused.body["errors"]] == list(asked)


async def test_list_orders_at_the_ends_of_the_calendar(shop: Shop, place: Place) -> None:
    token = shop.issuer.token()
    order = await place(token)
    ends = {"placed_from": "0001-01-01T00:00:00Z", "placed_to": "9999-12-31T23:59:59.999999Z"}
    assert await pages(shop.api, ORDERS, token, **ends) == [order["id"]]


async def test_list_orders_by_anothers_cursor_are_still_ones_own(shop: Shop, place: Place) -> None:
    one, two = shop.issuer.token(), shop.issuer.token()
    mine = [await place(one, days_ago=days) for days in (2, 1)]
    for days in (4, 3, 0):
        await place(two, days_ago=days)
    theirs = await look(shop.api, ORDERS, two, limit=1)
    answer = await look(shop.api, ORDERS, one, cursor=theirs.body["next_cursor"])
    assert ids(answer) == [order["id"] for order in reversed(mine)]
    assert (await look(shop.api, ORDERS, None)).status == 401


async def test_list_orders_is_one_statement_whatever_the_page_size(
    shop: Shop, place: Place, db: asyncpg.Connection
) -> None:
    token = shop.issuer.token()
    for _ in range(12):
        await place(token)
    await db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    for limit in (1, 12):
        before = await db.fetchval(STATEMENTS)
        answer = await look(shop.api, ORDERS, token, limit=limit)
        assert len(answer.data) == limit
        assert all(len(order["items"]) == 2 for order in answer.data)
        assert await db.fetchval(STATEMENTS) == before + 1


async def test_list_all_orders_is_for_those_who_may(shop: Shop, place: Place) -> None:
    customers = [uuid4(), uuid4()]
    tokens = [shop.issuer.token(customer) for customer in customers]
    placed = [
        await place(tokens[n % 2], status, days_ago=4 - n)
        for n, status in enumerate(("paid", "paid", "cancelled", "reserved"))
    ]
    assert (await look(shop.api, ALL, None)).status == 401
    refused = await look(shop.api, ALL, tokens[0])
    assert (refused.status, refused.body["type"]) == (403, "/problems/forbidden")
    support = shop.issuer.token(None, "orders:read")

    async def numbers(**asked: Any) -> list[int]:
        found = await pages(shop.api, ALL, support, limit=1, **asked)
        return [[order["id"] for order in placed].index(each) for each in found]

    assert await numbers() == [3, 2, 1, 0]
    assert await numbers(status="paid") == [1, 0]
    assert await numbers(customer_id=customers[0]) == [2, 0]
    assert await numbers(customer_id=customers[1], status="paid") == [1]
    assert await numbers(placed_from=placed[1]["placed_at"], status="paid") == [1]
    assert await numbers(placed_to=placed[1]["placed_at"]) == [0]
    newest = (await look(shop.api, ALL, support, limit=1)).data[0]
    assert newest == placed[3] | {"customer_id": str(customers[1])}
