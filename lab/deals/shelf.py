"""Products and deals for benchmarks, put into the catalog's tables at once, as a migration would.

Indexes that stand in the way are made again afterwards, and the database then knows its rows, as
autovacuum has it do: plans are those of a database that lives.
"""

import asyncio
from collections.abc import Mapping

import asyncpg

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
  SELECT 'Product ' || n * 7919 % 1000003, 'It comes with number ' || n || ' on its lid.',
    'category-' || n % 100, n * 7907 % 99991, 10
  FROM generate_series(1, {number}::bigint) n;
  ALTER TABLE products ENABLE TRIGGER USER;
  INSERT INTO categories SELECT category, count(*) FROM products GROUP BY category;
  FOREACH definition IN ARRAY wanted LOOP EXECUTE definition; END LOOP;
END $$
"""
OPEN_DEALS = """
INSERT INTO deals (product_id, price_krw, opens_at, closes_at, quota)
SELECT id, price_krw / 2, now() - interval '1 hour', now() + interval '1 hour', 100
FROM products ORDER BY id LIMIT {number}
"""


def fill(environ: Mapping[str, str], products: int, open_deals: int) -> None:
    """So many products in a hundred categories, and deals of some of them."""

    async def run() -> None:
        url, settings = environ["DATABASE_URL"], {"search_path": "catalog"}
        connection = await asyncpg.connect(url, server_settings=settings)
        try:
            await connection.execute(FILL.format(number=products))
            await connection.execute(OPEN_DEALS.format(number=open_deals))
            await connection.execute("VACUUM ANALYZE products")
            await connection.execute("VACUUM ANALYZE deals")
        finally:
            await connection.close()

    asyncio.run(run())
