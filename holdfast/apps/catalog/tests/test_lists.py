import asyncio
import gzip
import signal
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis

from holdfast.apps.catalog.lists.rules import is_known
from holdfast.apps.catalog.tests.counting import asked_of_tables
from holdfast.apps.catalog.tests.desk import PRODUCTS, Desk
from holdfast.core.compression import takes_gzip
from holdfast.core.tests.serving import Client, worker

CATEGORIES, TIME = "/api/v1/categories", "/api/v1/time"
ORDERS = {
    "newest": "id DESC",
    "price": "price_krw, id",
    "-price": "price_krw DESC, id DESC",
    "name": "name, id",
}
# Few prices and names, so that most of them are equal to a neighbour's.
MANY = """
    INSERT INTO products (name, category, price_krw, stock)
    SELECT 'Name ' || n % 3, CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END, n % 4 * 1000, 1
    FROM generate_series(1, $1::integer) n"""


@pytest.fixture
async def many(db: asyncpg.Connection) -> int:
    """Products that are there before a worker starts."""
    await db.execute(MANY, 23)
    return 23


async def walk(api: Client, query: str, cursor: str = "") -> list[dict[str, Any]]:
    """All products of a list, by its cursors."""
    seen: list[dict[str, Any]] = []
    while True:
        page = await api.call("GET", f"{PRODUCTS}?{query}" + (cursor and f"&cursor={cursor}"))
        assert page.status == 200, page.body
        seen += page.data
        cursor = page.body["next_cursor"]
        if cursor is None:
            return seen


@pytest.mark.parametrize("category", [None, "odd"])
@pytest.mark.parametrize("sort", ORDERS)
async def test_list_products_comes_to_each_once_in_every_order(
    many: int, api: Client, db: asyncpg.Connection, sort: str, category: str | None
) -> None:
    of_category = "SELECT id::text FROM products WHERE $1::text IS NULL OR category = $1"
    rows = await db.fetch(f"{of_category} ORDER BY {ORDERS[sort]}", category)
    wanted = [row["id"] for row in rows]
    asked = f"sort={sort}&limit=4" + (f"&category={category}" if category else "")
    assert [one["id"] for one in await walk(api, asked)] == wanted
    numbered = [
        await api.call("GET", f"{PRODUCTS}?{asked}&page={page}")
        for page in range(1, len(wanted) // 4 + 2)
    ]
    assert [one["id"] for page in numbered for one in page.data] == wanted
    assert {page.body["total"] for page in numbered} == {len(wanted)}


@pytest.mark.parametrize("sort", ["price", "-price", ""])
@pytest.mark.parametrize("category", ["", "&category=even"])
async def test_list_products_between_prices(
    many: int, api: Client, db: asyncpg.Connection, sort: str, category: str
) -> None:
    rows = await db.fetch(
        """SELECT id::text FROM products WHERE price_krw BETWEEN 1000 AND 2000
        AND ($1 = '' OR category = 'even') ORDER BY price_krw, id""",
        category,
    )
    wanted = [row["id"] for row in rows]
    asked = f"limit=3&price_from=1000&price_to=2000{category}" + (f"&sort={sort}" if sort else "")
    found = [one["id"] for one in await walk(api, asked)]
    assert found == (wanted[::-1] if sort == "-price" else wanted)
    first = await api.call("GET", f"{PRODUCTS}?{asked}")
    assert (first.body["total"], first.body["total_exact"]) == (len(wanted), True)


async def test_list_products_shows_each_as_it_is_shown_alone(desk: Desk, api: Client) -> None:
    product = await desk.product()
    listed = await api.call("GET", PRODUCTS)
    assert listed.data == [product]
    assert listed.data == [(await api.call("GET", f"{PRODUCTS}/{product['id']}")).data]


async def test_list_products_goes_on_past_what_is_removed_and_added_meanwhile(
    many: int, api: Client, desk: Desk
) -> None:
    first = await api.call("GET", f"{PRODUCTS}?sort=price&limit=5")
    last = first.data[-1]["id"]
    assert (await desk.ask("DELETE", f"{PRODUCTS}/{last}")).status == 204
    await desk.product(price_krw=0)
    rest = await walk(api, "sort=price&limit=5", first.body["next_cursor"])
    ids = [one["id"] for one in (*first.data, *rest)]
    assert len(ids) == len(set(ids)) >= many


async def test_list_products_goes_on_after_the_longest_name(desk: Desk, api: Client) -> None:
    for _ in range(3):
        await desk.product(name="\N{DUCK}" * 200)
    assert len(await walk(api, "sort=name&limit=1")) == 3


async def test_list_products_counts_no_further_than_it_must(
    db: asyncpg.Connection, api: Client
) -> None:
    await db.execute(MANY, 40_100)
    for query, total, exact in (
        ("", 40_100, True),
        ("?category=odd", 20_050, True),
        ("?category=nothing", 0, True),
        ("?price_from=1000", 10_000, False),
        ("?price_from=1000&category=odd", 10_000, False),
        ("?price_from=1000&price_to=1000", 10_000, False),
        ("?price_from=1001&price_to=1999", 0, True),
    ):
        answer = await api.call("GET", PRODUCTS + (query or "?limit=21"))
        assert (answer.body["total"], answer.body["total_exact"]) == (total, exact), query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=", "limit"),
        ("page=0", "page"),
        ("page=501&limit=20", "page"),
        ("page=101&limit=100", "page"),
        ("sort=dearest", "sort"),
        ("sort=newest&price_to=5", "sort"),
        ("sort=name&price_from=5", "sort"),
        ("price_from=-1", "price_from"),
        ("price_to=1000000000001", "price_to"),
        ("category=Kitchen", "category"),
        ("category=%00", "category"),
        ("category=%ff", "query"),
        ("colour=red", "colour"),
        ("limit=5&limit=6", "query"),
        ("limit", "query"),
        ("cursor=AAAA", "cursor"),
        ("cursor=" + "A" * 1201, "cursor"),
        ("sort=" + "x" * 2000, "query"),
    ],
)
async def test_list_products_refuses_odd_questions(api: Client, query: str, field: str) -> None:
    answer = await api.call("GET", f"{PRODUCTS}?{query}")
    assert answer.status == 422
    assert [error["field"] for error in answer.body["errors"]] == [field]


async def test_list_products_takes_a_cursor_only_for_its_own_list(many: int, api: Client) -> None:
    first = await api.call("GET", f"{PRODUCTS}?sort=price&limit=2")
    cursor = first.body["next_cursor"]
    for query in (
        "sort=-price",
        "sort=newest",
        "sort=name",
        "sort=price&category=odd",
        "price_to=9",
    ):
        answer = await api.call("GET", f"{PRODUCTS}?{query}&limit=2&cursor={cursor}")
        assert [error["field"] for error in answer.body["errors"]] == ["cursor"], query
    both = await api.call("GET", f"{PRODUCTS}?sort=price&page=2&cursor={cursor}")
    assert [error["field"] for error in both.body["errors"]] == ["page"]
    longer = await api.call("GET", f"{PRODUCTS}?cursor={cursor}&limit=5&sort=price")
    assert longer.status == 200


@pytest.fixture
async def plain(api: Client) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that unpacks nothing and asks for nothing by itself."""
    async with aiohttp.ClientSession(
        api.url, auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
    ) as http:
        yield http


async def test_list_products_is_sent_plain_or_compressed_and_only_when_it_has_changed(
    many: int, plain: aiohttp.ClientSession
) -> None:
    async def ask(**headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with plain.get(PRODUCTS, headers=named) as answer:
            return answer, await answer.read()

    whole, body = await ask()
    packed, small = await ask(accept_encoding="br, gzip")
    assert "Content-Encoding" not in whole.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(small) < len(body) / 2
    assert gzip.decompress(small) == body
    assert whole.headers["ETag"] != packed.headers["ETag"]
    for answer in (whole, packed):
        assert answer.headers["Vary"] == "accept-encoding"
        assert answer.headers["Cache-Control"] == "public, no-cache"
    tag = packed.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        unchanged, nothing = await ask(accept_encoding="gzip", if_none_match=known)
        assert (unchanged.status, nothing) == (304, b"")
        assert unchanged.headers["ETag"] == tag
        assert unchanged.headers["Vary"] == "accept-encoding"
    assert (await ask(if_none_match=tag))[0].status == 200  # the tag of other bytes


async def test_list_products_below_a_thousand_bytes_is_not_compressed(
    desk: Desk, plain: aiohttp.ClientSession
) -> None:
    await desk.product()
    async with plain.get(PRODUCTS, headers={"Accept-Encoding": "gzip"}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert len(await answer.read()) < 1000


def test_gzip_is_sent_to_whoever_takes_it() -> None:
    assert all(takes_gzip(asked) for asked in (b"gzip", b"deflate, GZIP;q=0.5", b"gzip ; q=1"))
    refusals = (b"", b"gzip;q=0", b"gzip; q=0.000", b"br;q=1, identity", b"xgzip")
    assert not any(takes_gzip(asked) for asked in refusals)


def test_a_tag_is_known_only_as_a_whole() -> None:
    assert not is_known(b'"abc"', b'"abcd", W/"ab"')
    assert not is_known(b'"abc"', b'"abc-gzip"')


async def test_list_products_changes_on_every_worker_with_the_answer_to_the_change(
    desk: Desk, api: Client, other: Client
) -> None:
    product = await desk.product()
    for price_krw in range(1, 21):
        changed = await desk.ask("PATCH", f"{PRODUCTS}/{product['id']}", {"price_krw": price_krw})
        assert changed.status == 200
        for client in (other, api):
            listed = await client.call("GET", PRODUCTS)
            assert [one["price_krw"] for one in listed.data] == [price_krw]
    await desk.ask("DELETE", f"{PRODUCTS}/{product['id']}")
    emptied = await other.call("GET", PRODUCTS)
    assert (emptied.data, emptied.body["total"]) == ([], 0)


async def test_list_products_of_a_worker_that_was_paused_misses_no_change(
    environ: dict[str, str], desk: Desk
) -> None:
    async with worker("catalog", environ) as (url, process), Client.at(url) as paused:
        assert (await paused.call("GET", PRODUCTS)).data == []
        process.send_signal(signal.SIGSTOP)
        await desk.product()
        process.send_signal(signal.SIGCONT)
        assert len((await paused.call("GET", PRODUCTS)).data) == 1


async def test_list_products_asks_neither_database_nor_redis_when_warm(
    many: int, api: Client, db: asyncpg.Connection, redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as redis:

        async def commands() -> int:
            stats = await redis.info("commandstats")
            return sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info")

        before = await asked_of_tables(db), await commands()
        for _ in range(10):
            answers = await asyncio.gather(*(api.call("GET", PRODUCTS) for _ in range(50)))
            assert {answer.body["total"] for answer in answers} == {many}
        assert (await asked_of_tables(db), await commands()) == before


async def test_list_products_is_read_once_for_all_who_ask_at_the_same_moment(
    many: int, api: Client, db: asyncpg.Connection
) -> None:
    before = await asked_of_tables(db)
    await asyncio.gather(*(api.call("GET", f"{PRODUCTS}?sort=name") for _ in range(50)))
    assert await asked_of_tables(db) - before == 3  # the page's ids, its products, the total


async def test_list_products_is_taken_over_from_another_worker_by_redis(
    many: int, api: Client, other: Client, db: asyncpg.Connection
) -> None:
    made = await api.call("GET", f"{PRODUCTS}?sort=-price&limit=3")
    before = await asked_of_tables(db)
    taken = await other.call("GET", f"{PRODUCTS}?limit=3&sort=-price")
    assert taken.headers["ETag"] == made.headers["ETag"]
    assert await asked_of_tables(db) == before


async def test_list_categories_by_pages_with_their_numbers(
    many: int, api: Client, desk: Desk
) -> None:
    lamp = await desk.product(category="light")
    first = await api.call("GET", f"{CATEGORIES}?limit=2")
    assert first.data == [{"name": "even", "products": 11}, {"name": "light", "products": 1}]
    rest = await api.call("GET", f"{CATEGORIES}?limit=2&cursor={first.body['next_cursor']}")
    assert (rest.data, rest.body["next_cursor"]) == ([{"name": "odd", "products": 12}], None)
    await desk.ask("DELETE", f"{PRODUCTS}/{lamp['id']}")
    left = await api.call("GET", CATEGORIES)
    assert [one["name"] for one in left.data] == ["even", "odd"]
    assert (await api.call("GET", f"{CATEGORIES}?page=2")).status == 422


async def test_show_time_is_the_databases_to_the_millisecond(
    api: Client, db: asyncpg.Connection
) -> None:
    before = await db.fetchval("SELECT date_trunc('milliseconds', clock_timestamp())")
    answers = await asyncio.gather(*(api.call("GET", TIME) for _ in range(20)))
    after = await db.fetchval("SELECT clock_timestamp()")
    for answer in answers:
        now = datetime.fromisoformat(answer.data["now"])
        assert before <= now <= after
        assert now.microsecond % 1000 == 0
        assert answer.headers["Cache-Control"] == "no-store"
