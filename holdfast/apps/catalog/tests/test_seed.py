"""A start leaves a shop to look at and two deals to wait for; the next start adds only deals."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from holdfast.apps.catalog.seed import DEMO_PRODUCTS, DemoRefusedError, seed
from holdfast.core.settings import Settings


async def test_seed_makes_products_once_and_two_deals_each_time(
    settings: Settings, db: asyncpg.Connection
) -> None:
    for starts in (1, 2, 3):
        assert await seed(settings) == ()
        counts = await db.fetch("SELECT name, products FROM categories")
        assert {row["name"]: row["products"] for row in counts} == {
            category: len(products) for category, products in DEMO_PRODUCTS.items()
        }
        deals = await db.fetch("SELECT * FROM deals ORDER BY id")
        assert len({deal["product_id"] for deal in deals}) == len(deals) == 2 * starts
        for deal, minutes, admit_per_s in zip(deals[-2:], (2, 3), (None, 20), strict=True):
            assert (deal["quota"], deal["per_customer"]) == (100, 1)
            assert deal["admit_per_s"] == admit_per_s
            opens_in = deal["opens_at"] - datetime.now(UTC)
            assert timedelta(seconds=-30) < opens_in - timedelta(minutes=minutes) <= timedelta(0)
            assert deal["closes_at"] - deal["opens_at"] == timedelta(minutes=10)


async def test_seed_takes_the_product_of_a_deal_that_is_over(
    settings: Settings, db: asyncpg.Connection
) -> None:
    await seed(settings)
    await db.execute("UPDATE deals SET withdrawn_at = now()")
    await seed(settings)
    assert await db.fetchval("SELECT count(DISTINCT product_id) FROM deals") == 2


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
