"""Offers are told as they are at this moment, whatever any memory holds."""

import asyncpg

from holdfast.apps.catalog.offers.queries import SELECT_OFFERS
from holdfast.apps.catalog.tests.desk import DEALS, NOBODY, OFFERS, PRODUCTS, Desk
from holdfast.core.tests.serving import Client


async def test_list_offers_of_deals_and_products_in_the_order_of_ids(desk: Desk) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"], per_customer=2, admit_per_s=20)
    asked = f"{OFFERS}?id={deal['id']}&id={NOBODY}&id={product['id']}&id={deal['id']}"
    answer = await desk.api.call("GET", asked)
    assert answer.status == 200
    told = {"product_id": product["id"], "name": product["name"]}
    assert answer.data == [
        told
        | {"id": product["id"], "kind": "product", "price_krw": 12_900, "quantity": 500}
        | {"opens_at": None, "closes_at": None, "per_customer": None, "admit_per_s": None},
        told
        | {"id": deal["id"], "kind": "deal", "price_krw": 9_900, "quantity": 100}
        | {"opens_at": deal["opens_at"], "closes_at": deal["closes_at"]}
        | {"per_customer": 2, "admit_per_s": 20},
    ]


async def test_list_offers_tells_of_a_change_at_once(desk: Desk, other: Client) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"])
    asked = f"{OFFERS}?id={deal['id']}&id={product['id']}"
    await other.call("GET", asked)
    await desk.ask("PATCH", f"{DEALS}/{deal['id']}", {"price_krw": 1, "quota": 7, "admit_per_s": 5})
    await desk.ask("POST", f"{PRODUCTS}/{product['id']}/stock", {"change": -499})
    told = (await other.call("GET", asked)).data
    names = ("price_krw", "quantity", "admit_per_s")
    assert [[one[name] for name in names] for one in told] == [[12_900, 1, None], [1, 7, 5]]


async def test_list_offers_refuses_what_it_cannot_mean(api: Client) -> None:
    for asked in (
        *("", "?id=", "?id=mug", "?id=%00", f"?ids={NOBODY}", f"?id={NOBODY}&limit=1"),
        "?" + "&".join([f"id={NOBODY}"] * 51),
    ):
        assert (await api.call("GET", OFFERS + asked)).status == 422, asked


async def test_list_offers_of_fifty(desk: Desk) -> None:
    ids = [(await desk.product(name=f"Mug {n}"))["id"] for n in range(50)]
    asked = "&".join(f"id={one}" for one in reversed(ids))
    assert [one["id"] for one in (await desk.ask("GET", f"{OFFERS}?{asked}")).data] == ids


async def test_list_offers_reads_no_table_from_end_to_end(db: asyncpg.Connection) -> None:
    """Also on the first day, when PostgreSQL has counted nothing yet."""
    await db.execute(
        """INSERT INTO products (name, category, price_krw, stock)
             SELECT 'Mug ' || n, 'kitchen', 1, 1 FROM generate_series(1, 5000) AS n;
           INSERT INTO deals (product_id, price_krw, opens_at, closes_at, quota)
             SELECT id, 1, now(), now() + interval '1 h', 1 FROM products"""
    )
    ids = await db.fetchval("SELECT array(SELECT id FROM deals LIMIT 50)")
    plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {SELECT_OFFERS}", ids))
    assert "Seq Scan" not in plan
