"""What lists read of a million products: indexes, and little more than what they show.

Each statement is planned both for its arguments and without knowing them, as PostgreSQL may do
with a statement that it has seen often.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, get_args

import asyncpg
import msgspec
import pytest

from holdfast.apps.catalog.lists import queries
from holdfast.apps.catalog.lists.cache import FIRST_ID, LONG_AGO, _select_ids, _select_total
from holdfast.apps.catalog.lists.schemas import COUNTED_TO, DEEPEST, ProductsAsked, Sort
from holdfast.apps.catalog.wire import MOST_KRW
from holdfast.core.db import Address
from holdfast.core.manifest import find

MILLION = 1_000_000
LIMIT = 20
ENTRIES_IN_A_BLOCK = 60  # of an index, where names are in it
# Blocks: down an index and over to the next leaf; of a row and the way to it; of a small table.
INDEX, ROW, CATEGORIES = 8, 5, 2
# A hundred categories, and prices that go neither with them nor with age. Indexes are made at once.
FILL = """
    DO $$
    DECLARE
      wanted text[] := array(
        SELECT indexdef FROM pg_indexes
        WHERE schemaname = 'catalog' AND tablename = 'products' AND indexname <> 'products_pkey');
      definition text;
    BEGIN
      DROP INDEX products_by_price, products_by_name, products_of_category,
        products_of_category_by_price, products_of_category_by_name;
      ALTER TABLE products DISABLE TRIGGER USER;
      INSERT INTO products (name, description, category, price_krw, stock)
      SELECT 'Product ' || n * 7919 % 1000000, '', 'category-' || n % 100, n * 7907 % 99991, 10
      FROM generate_series(1, 1000000::bigint) n;
      ALTER TABLE products ENABLE TRIGGER USER;
      INSERT INTO categories SELECT category, count(*) FROM products GROUP BY category;
      FOREACH definition IN ARRAY wanted LOOP EXECUTE definition; END LOOP;
    END $$;
    INSERT INTO deals (product_id, price_krw, opens_at, closes_at, quota)
    SELECT (SELECT id FROM products LIMIT 1), 1, now() + make_interval(hours => n),
      now() + make_interval(hours => n + 24), 1
    FROM generate_series(-19000, 999) n"""
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked"


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case list():
            return "'{" + ",".join(f'"{one}"' for one in value) + "}'"
    return f"'{value}'"


class Explained:
    """A connection that notes how each statement was run, and how many blocks all of them took."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.statements = 0
        self.blocks = 0
        self.scanned: set[str] = set()  # tables that were read whole

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        await self.connection.execute(f"PREPARE asked AS {query}")
        told = await self.connection.fetchval(f"{EXPLAIN} ({', '.join(map(literal, args))})")
        await self.connection.execute("DEALLOCATE asked")
        [run] = msgspec.json.decode(told)
        self.statements += 1
        self.blocks += run["Plan"]["Shared Hit Blocks"] + run["Plan"]["Shared Read Blocks"]
        self._look_at(run["Plan"])
        return list(await self.connection.fetch(query, *args))

    def _look_at(self, node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan":
            self.scanned.add(node["Relation Name"])
        for below in node.get("Plans", ()):
            self._look_at(below)

    def assert_little_was_read(self, most_blocks: int) -> None:
        assert self.blocks <= most_blocks
        assert self.scanned <= {"categories"}


@pytest.fixture(scope="module")
def million_url(postgres_url: str, template_url: str) -> str:
    url = postgres_url.removesuffix("postgres") + "catalog_of_a_million"

    async def make() -> None:
        server = await asyncpg.connect(postgres_url)
        name = template_url.rpartition("/")[2]
        await server.execute(f"CREATE DATABASE catalog_of_a_million TEMPLATE {name}")
        await server.close()
        owner = await asyncpg.connect(url, server_settings={"search_path": "catalog"})
        await owner.execute("SET maintenance_work_mem = '256MB'")
        await owner.execute(FILL)
        await owner.execute("VACUUM ANALYZE products")
        await owner.execute("VACUUM ANALYZE deals")
        await owner.close()

    asyncio.run(make())
    return url


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
async def db(million_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A worker's connection, that plans in one way or the other."""
    app = find("catalog")
    settings = Address(million_url, app.role, app.schema).settings()
    settings["plan_cache_mode"] = request.param
    connection = await asyncpg.connect(million_url, server_settings=settings)
    yield connection
    await connection.close()


def asked(sort: Sort, category: str | None, **told: Any) -> ProductsAsked:
    return ProductsAsked(sort, category, 0, MOST_KRW, LIMIT)._replace(**told)


@pytest.mark.parametrize("category", [None, "category-7"])
@pytest.mark.parametrize("sort", get_args(Sort))
async def test_list_products_reads_little_more_than_a_page_wherever_the_page_is(
    db: Any, sort: Sort, category: str | None
) -> None:
    [far] = await _select_ids(db, asked(sort, category, skip=5_000, limit=1))
    [row] = await queries.select_products(db, [far])
    key = {"newest": None, "name": row.name}.get(sort, row.price_krw)
    for page in (asked(sort, category), asked(sort, category, after=(key, far))):
        explained: Any = Explained(db)
        ids = await _select_ids(explained, page)
        assert len(ids) == LIMIT
        explained.assert_little_was_read(INDEX)
        await queries.select_products(explained, ids)
        total = MILLION // 100 if category else MILLION
        assert await _select_total(explained, page) == (total, True)
        explained.assert_little_was_read(INDEX + LIMIT * ROW + CATEGORIES)
        assert explained.statements == 3


@pytest.mark.parametrize("category", [None, "category-7"])
@pytest.mark.parametrize("sort", get_args(Sort))
async def test_list_products_skips_in_the_index_alone(
    db: Any, sort: Sort, category: str | None
) -> None:
    explained: Any = Explained(db)
    assert len(await _select_ids(explained, asked(sort, category, skip=DEEPEST - LIMIT))) == LIMIT
    explained.assert_little_was_read(INDEX + DEEPEST // ENTRIES_IN_A_BLOCK)


@pytest.mark.parametrize("category", [None, "category-7"])
@pytest.mark.parametrize("sort", ["price", "-price"])
async def test_list_products_between_prices_reads_a_page_and_counts_so_far(
    db: Any, sort: Sort, category: str | None
) -> None:
    page = asked(sort, category, price_from=20_000, price_to=80_000)
    explained: Any = Explained(db)
    assert len(await _select_ids(explained, page)) == LIMIT
    explained.assert_little_was_read(INDEX)
    total, exact = await _select_total(explained, page)
    assert exact is (total < COUNTED_TO) is (category is not None)
    explained.assert_little_was_read(2 * INDEX + COUNTED_TO // ENTRIES_IN_A_BLOCK)
    nothing = page._replace(price_from=MOST_KRW - 1)
    explained = Explained(db)
    assert await _select_ids(explained, nothing) == []
    assert await _select_total(explained, nothing) == (0, True)
    explained.assert_little_was_read(2 * INDEX)


@pytest.mark.parametrize("select", [queries.select_deals_open, queries.select_deals_upcoming])
async def test_list_deals_reads_past_nothing_that_is_over_or_to_come(db: Any, select: Any) -> None:
    """Of 20,000 deals, 19,000 are over, 24 are open, and one opens and one closes each hour."""
    explained: Any = Explained(db)
    [now, *_] = moments = await queries.select_moments(explained, within_s=2 * 3600, most=33)
    explained.assert_little_was_read(4 * INDEX)
    for after in (LONG_AGO, now + timedelta(hours=5)):
        explained = Explained(db)
        rows = await select(explained, moments=moments, after=after, after_id=FIRST_ID, most=5)
        assert len(rows) == 5 * len(moments)
        explained.assert_little_was_read(len(moments) * (INDEX + 5 * ROW))
