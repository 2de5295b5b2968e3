"""A start leaves a shop to look at and a deal to wait for; the next start adds only a deal."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from holdfast.apps.catalog.seed import DEMO_PRODUCTS, DemoRefusedError, seed
from holdfast.core.settings import Settings


async def test_seed_makes_products_once_and_a_deal_each_time(
    settings: Settings, db: asyncpg.Connection
) -> None:
    for starts in (1, 2, 3):
        assert await seed(settings) == ()
        counts = await db.fetch("SELECT name, products FROM categories")
        assert {row["name"]: row["products"] for row in counts} == {
            category: len(products) for category, products in DEMO_PRODUCTS.items()
        }
        deals = await db.fetch("SELECT * FROM deals ORDER BY id")
        assert len({deal["product_id"] for deal in deals}) == len(deals) == starts
        newest = deals[-1]
        assert (newest["quota"], newest["per_customer"]) == (100, 1)
        opens_in = newest["opens_at"] - datetime.now(UTC)
        assert timedelta(minutes=1, seconds=30) < opens_in <= timedelta(minutes=2)
        assert newest["closes_at"] - newest["opens_at"] == timedelta(minutes=10)


async def test_seed_takes_the_product_of_a_deal_that_is_over(
    settings: Settings, db: asyncpg.Connection
) -> None:
    await seed(settings)
    await db.execute("UPDATE deals SET withdrawn_at = now()")
    await seed(settings)
    assert await db.fetchval("SELECT count(DISTINCT product_id) FROM deals") == 1


async def test_seed_is_refused_in_production(
    environ: dict[str, str], db: asyncpg.Connection
) -> None:
    production = {
        "HOLDFAST_PROFILE": "production",
        "HOLDFAST_ORIGIN": "https://shop.example",
        "HOLDFAST_LIMITS": "on",
    }
    with pytest.raises(DemoRefusedError):
        await seed(Settings.load(environ | production))
    assert await db.fetchval("SELECT count(*) FROM products") == 0
