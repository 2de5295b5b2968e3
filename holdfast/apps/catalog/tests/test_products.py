"""Products are made, shown, changed and removed, by editors only, and counted right."""

import asyncio
from typing import Any

import asyncpg
import pytest

from holdfast.apps.catalog.tests.desk import DEALS, MUG, NOBODY, OFFERS, PRODUCTS, Desk, moment
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import Client

MOST_UNITS = 1_000_000_000
BAD_FIELDS: list[dict[str, Any]] = [
    {"name": ""},
    {"name": " mug"},
    {"name": "mug\n"},
    {"name": "a\nb"},
    {"name": "nul\0"},
    {"name": "n" * 201},
    {"name": None},
    {"name": 5},
    {"description": "nul\0"},
    {"description": "d" * 2_001},
    {"category": "Kitchen"},
    {"category": "kitchen "},
    {"category": "kitchen\n"},
    {"category": "kit--chen"},
    {"category": "c" * 41},
    {"category": ""},
    {"price_krw": -1},
    {"price_krw": 10**12 + 1},
    {"price_krw": 10**30},
    {"price_krw": 12.5},
    {"price_krw": "12900"},
    {"price_krw": True},
    {"stock": -1},
    {"stock": MOST_UNITS + 1},
    {"stock": None},
    {"colour": "blue"},
    {"id": NOBODY},
]


async def test_create_product_is_shown_by_every_worker(desk: Desk, other: Client) -> None:
    made = await desk.ask("POST", PRODUCTS, MUG)
    assert made.status == 201
    assert {name: made.data[name] for name in MUG} == MUG
    shown = await other.call("GET", f"{PRODUCTS}/{made.data['id']}")
    assert (shown.status, shown.body) == (200, made.body)
    assert await desk.events("product.created") == 1


async def test_create_product_refuses_bad_fields_and_leaves_no_trace(desk: Desk) -> None:
    for wrong in BAD_FIELDS:
        answer = await desk.ask("POST", PRODUCTS, MUG | wrong)
        assert answer.status == 422, wrong
        assert [error["field"] for error in answer.body["errors"]] == list(wrong)
    assert await traces(desk.db) == (0, 0, 0)


async def test_create_product_accepts_the_bounds(desk: Desk) -> None:
    for bounds in (
        {"name": "n", "description": "", "category": "c", "price_krw": 0, "stock": 0},
        {"name": "n" * 200, "category": "c" * 40, "price_krw": 10**12, "stock": MOST_UNITS},
        {"name": "파란 머그 🫖", "description": "d" * 2_000, "stock": 5.0},
    ):
        product = await desk.product(**bounds)
        assert product | bounds == product


async def test_create_products_answers_in_their_order(desk: Desk) -> None:
    wanted = [MUG | {"name": f"Mug {n}", "category": f"c{n % 7}"} for n in range(200)]
    made = await desk.ask("POST", f"{PRODUCTS}/bulk", {"products": wanted})
    assert made.status == 201
    rows = await desk.db.fetch("SELECT id, name FROM products ORDER BY id")
    assert made.data == [str(row["id"]) for row in rows]
    assert [row["name"] for row in rows] == [one["name"] for one in wanted]
    assert await desk.events("product.created") == 200
    assert await miscounted(desk.db) == []


async def test_create_products_with_one_bad_row_leaves_nothing(desk: Desk) -> None:
    for wrong in ({"stock": -1}, {"name": "\0"}, {"price_krw": 10**30}):
        wanted = [MUG, MUG | wrong, MUG]
        answer = await desk.ask("POST", f"{PRODUCTS}/bulk", {"products": wanted})
        assert answer.status == 422
        [error] = answer.body["errors"]
        assert error["field"] == f"products.1.{next(iter(wrong))}"
    assert await traces(desk.db) == (0, 0, 0)


async def test_create_products_refuses_none_too_many_and_too_much(desk: Desk) -> None:
    for number, status in [(0, 422), (201, 422), (1_000, 413)]:
        wanted = {"products": [MUG] * number}
        assert (await desk.ask("POST", f"{PRODUCTS}/bulk", wanted)).status == status
    assert await traces(desk.db) == (0, 0, 0)


async def test_show_product_that_there_is_not(desk: Desk) -> None:
    for name in (NOBODY, "mug", "%00"):
        answer = await desk.api.call("GET", f"{PRODUCTS}/{name}")
        assert (answer.status, answer.body["type"]) == (404, "/problems/not-found")


async def test_change_product_changes_what_is_sent(desk: Desk, other: Client) -> None:
    product = await desk.product()
    sent = {"price_krw": 9_900, "category": "tea"}
    changed = await desk.ask("PATCH", f"{PRODUCTS}/{product['id']}", sent)
    assert changed.status == 200
    assert changed.data == product | sent | {"changed_at": changed.data["changed_at"]}
    assert changed.data["changed_at"] > product["changed_at"]
    assert (await other.call("GET", f"{PRODUCTS}/{product['id']}")).body == changed.body
    assert await desk.events("product.changed") == 1
    assert await miscounted(desk.db) == []


async def test_change_product_refuses_bad_fields(desk: Desk) -> None:
    product = await desk.product()
    for wrong in (*BAD_FIELDS, {"stock": 5}, {}):
        answer = await desk.ask("PATCH", f"{PRODUCTS}/{product['id']}", wrong)
        assert answer.status == 422, wrong
    assert (await desk.ask("GET", f"{PRODUCTS}/{product['id']}")).data == product


async def test_change_product_by_two_editors_keeps_both_changes(desk: Desk, other: Client) -> None:
    product = await desk.product()
    path = f"{PRODUCTS}/{product['id']}"
    for n in range(10):
        one, two = {"name": f"Mug {n}"}, {"price_krw": n}
        answers = await asyncio.gather(
            desk.ask("PATCH", path, one), desk.ask("PATCH", path, two, api=other)
        )
        assert [answer.status for answer in answers] == [200, 200]
        shown = (await desk.ask("GET", path)).data
        assert shown | one | two == shown


async def test_change_product_between_categories_both_ways_at_once(
    desk: Desk, other: Client
) -> None:
    """Were they counted in the order of writing, these would wait for each other for ever."""
    there = [await desk.product() for _ in range(8)]
    back = [await desk.product(category="tea") for _ in range(8)]
    moves = [
        desk.ask("PATCH", f"{PRODUCTS}/{one['id']}", {"category": category}, api=api)
        for products, category, api in [(there, "tea", desk.api), (back, "kitchen", other)]
        for one in products
    ]
    assert {answer.status for answer in await asyncio.gather(*moves)} == {200}
    assert await miscounted(desk.db) == []


async def test_change_stock_by_what_is_sent(desk: Desk) -> None:
    product = await desk.product(stock=10)
    path = f"{PRODUCTS}/{product['id']}"
    for change, stock in [(50, 60), (-3, 57), (-57, 0), (MOST_UNITS, MOST_UNITS)]:
        answer = await desk.ask("POST", f"{path}/stock", {"change": change})
        assert (answer.status, answer.data["stock"]) == (200, stock)
    assert await desk.events("product.changed") == 4


async def test_change_stock_refuses_what_cannot_be(desk: Desk) -> None:
    product = await desk.product(stock=10)
    path = f"{PRODUCTS}/{product['id']}"
    for change in (-11, MOST_UNITS):
        assert (await desk.ask("POST", f"{path}/stock", {"change": change})).status == 409
    for wrong in (MOST_UNITS + 1, -MOST_UNITS - 1, 10**30, 1.5, "1", True, None):
        assert (await desk.ask("POST", f"{path}/stock", {"change": wrong})).status == 422
    assert (await desk.ask("GET", path)).data == product


async def test_change_stock_never_goes_below_zero_in_a_race(desk: Desk, other: Client) -> None:
    product = await desk.product(stock=10)
    path = f"{PRODUCTS}/{product['id']}/stock"
    taken = [
        desk.ask("POST", path, {"change": -1}, api=api) for _ in range(10) for api in (None, other)
    ]
    answers = await asyncio.gather(*taken)
    assert sorted(answer.status for answer in answers) == [200] * 10 + [409] * 10
    assert await desk.db.fetchval("SELECT stock FROM products") == 0


async def test_remove_product_with_the_deals_that_are_over(desk: Desk) -> None:
    product = await desk.product()
    over, withdrawn = await desk.deal(product["id"]), await desk.deal(product["id"])
    await desk.end(over["id"])
    assert (await desk.ask("DELETE", f"{DEALS}/{withdrawn['id']}")).status == 204
    path = f"{PRODUCTS}/{product['id']}"
    assert (await desk.ask("DELETE", path)).status == 204
    for gone in (path, f"{DEALS}/{over['id']}", f"{DEALS}/{withdrawn['id']}"):
        assert (await desk.ask("GET", gone)).status == 404
    asked = f"{OFFERS}?id={product['id']}&id={over['id']}"
    assert (await desk.ask("GET", asked)).data == []
    assert (await desk.ask("DELETE", path)).status == 404
    assert await desk.events("product.removed") == 1
    assert await miscounted(desk.db) == []


@pytest.mark.parametrize("opens_in_s", [-60, 60], ids=["open", "to come"])
async def test_remove_product_refuses_while_it_is_in_a_deal(desk: Desk, opens_in_s: float) -> None:
    product = await desk.product()
    await desk.deal(product["id"], opens_in_s=opens_in_s)
    answer = await desk.ask("DELETE", f"{PRODUCTS}/{product['id']}")
    assert (answer.status, answer.body["type"]) == (409, "/problems/deal-under-way")
    assert (await desk.ask("GET", f"{PRODUCTS}/{product['id']}")).data == product
    assert await desk.events("product.removed") == 0


async def test_remove_product_waits_for_a_deal_that_is_being_made(desk: Desk) -> None:
    product = await desk.product()
    async with desk.db.transaction():
        await desk.db.execute(
            "INSERT INTO deals (product_id, price_krw, opens_at, closes_at, quota)"
            " VALUES ($1, 1, now(), now() + interval '1 h', 1)",
            product["id"],
        )
        asked = asyncio.create_task(desk.ask("DELETE", f"{PRODUCTS}/{product['id']}"))
        await desk.until_somebody_waits()
    assert (await asked).status == 409


async def test_create_deal_waits_for_a_removal(desk: Desk) -> None:
    product = await desk.product()
    async with desk.db.transaction():
        await desk.db.execute("DELETE FROM products WHERE id = $1", product["id"])
        asked = asyncio.create_task(desk.ask("POST", DEALS, desk.terms(product["id"])))
        await desk.until_somebody_waits()
    assert (await asked).status == 404


async def test_change_deal_does_not_outrun_a_removal(desk: Desk) -> None:
    """It could keep open what the removal has just seen to be over."""
    product = await desk.product()
    deal = await desk.deal(product["id"])
    longer = {"closes_at": moment(7200)}
    async with desk.db.transaction():
        await desk.db.execute("SELECT FROM products WHERE id = $1 FOR UPDATE", product["id"])
        asked = asyncio.create_task(desk.ask("PATCH", f"{DEALS}/{deal['id']}", longer))
        await desk.until_somebody_waits()
        await desk.db.execute("DELETE FROM products WHERE id = $1", product["id"])
    assert (await asked).status == 404


async def test_products_are_closed_to_everybody_else(desk: Desk, issuer: Issuer) -> None:
    product = await desk.product()
    path = f"{PRODUCTS}/{product['id']}"
    calls: list[tuple[str, str, Any]] = [
        ("POST", PRODUCTS, MUG),
        ("POST", f"{PRODUCTS}/bulk", {"products": [MUG]}),
        ("PATCH", path, {"price_krw": 1}),
        ("POST", f"{path}/stock", {"change": 1}),
        ("DELETE", path, None),
    ]
    somebody = issuer.token(None, "catalog:read", "orders:read")
    for method, at, body in calls:
        assert (await desk.api.call(method, at, body)).status == 401, at
        assert (await desk.api.call(method, at, body, token="made.up.token")).status == 401, at
        assert (await desk.api.call(method, at, body, token=somebody)).status == 403, at
    assert (await desk.ask("GET", path)).data == product


async def test_the_permission_is_asked_for_at_every_change(desk: Desk, issuer: Issuer) -> None:
    """A token outlives what its owner may do."""
    product = await desk.product()
    issuer.permissions.clear()
    assert (await desk.ask("DELETE", f"{PRODUCTS}/{product['id']}")).status == 403


async def test_categories_are_counted_right_whatever_happens_at_once(
    desk: Desk, other: Client
) -> None:
    made = [await desk.product(category=f"c{n % 3}") for n in range(12)]
    bulk = {"products": [MUG | {"category": f"c{n % 5}"} for n in range(20)]}
    calls = [
        *(("PATCH", f"{PRODUCTS}/{one['id']}", {"category": "c1"}) for one in made[:6]),
        *(("DELETE", f"{PRODUCTS}/{one['id']}", None) for one in made[6:]),
        *(("POST", f"{PRODUCTS}/bulk", bulk) for _ in range(4)),
        *(("PATCH", f"{PRODUCTS}/{one['id']}", {"category": "c9"}) for one in made[:6]),
    ]
    answers = await asyncio.gather(
        *(desk.ask(*call, api=(desk.api, other)[n % 2]) for n, call in enumerate(calls))
    )
    assert {answer.status for answer in answers} == {200, 201, 204}
    assert await miscounted(desk.db) == []


async def traces(db: asyncpg.Connection) -> tuple[int, ...]:
    row = await db.fetchrow(
        "SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM categories),"
        " (SELECT count(*) FROM outbox)"
    )
    return tuple(row or ())


async def miscounted(db: asyncpg.Connection) -> list[asyncpg.Record]:
    """Categories whose number is not that of their products."""
    return await db.fetch(
        "SELECT * FROM categories FULL JOIN"
        " (SELECT category AS name, count(*) AS there FROM products GROUP BY category) AS known"
        " USING (name) WHERE coalesce(products, 0) <> coalesce(there, 0)"
    )
