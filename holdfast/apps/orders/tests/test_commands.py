"""What is done by hand: the audit finds each kind of wrong row, and nothing where all is right."""

import asyncio
import os
import sys
from uuid import UUID, uuid4

import pytest

from holdfast.apps.orders.audit.actions import audit_offers
from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.tests.serving import Client


async def holdfast(environ: dict[str, str], *words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "orders", *words),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    return process.returncode, said.decode(), complained.decode()


async def sell(shop: Shop) -> tuple[UUID, UUID]:
    """Two offers, and three orders: two units of the first, one of each, and one that is paid."""
    one, two = await shop.offer(stock=10, per_customer=None), await shop.offer(stock=5)
    await shop.buy(one, quantity=2)
    await shop.buy(one, two)
    paid = await shop.buy(one)
    await shop.db.execute("UPDATE orders SET status = 'paid' WHERE id = $1", UUID(paid.data["id"]))
    await shop.db.execute("UPDATE offers SET held = held - 1, sold = 1 WHERE id = $1", one)
    return one, two


async def test_audit_prints_each_offers_proof(shop: Shop, environ: dict[str, str]) -> None:
    one, two = await sell(shop)
    proofs = [
        f"{one}  10 = 6 remaining + 3 held + 1 sold, 3 places  Blue mug\n",
        f"{two}  5 = 4 remaining + 1 held + 0 sold, 1 places  Blue mug\n",
    ]
    assert await holdfast(environ, "audit") == (0, "".join(proofs), "")
    assert await holdfast(environ, "audit", str(two)) == (0, proofs[1], "")


async def test_audit_says_what_differs_where(shop: Shop, environ: dict[str, str]) -> None:
    one, two = await sell(shop)
    await shop.db.execute("UPDATE offers SET held = 2, remaining = 3 WHERE id = $1", two)
    status, said, complained = await holdfast(environ, "audit")
    assert status == 1
    assert len(said.splitlines()) == 2
    assert f"offer {two}: held is 2, and its reserved orders have 1\n" in complained
    assert "Traceback" not in complained
    assert (await holdfast(environ, "audit", str(one)))[0] == 0


async def test_audit_of_an_offer_that_there_is_not(shop: Shop, environ: dict[str, str]) -> None:
    status, said, complained = await holdfast(environ, "audit", str(uuid4()))
    assert (status, said) == (1, "")
    assert "There is no such offer." in complained
    assert (await holdfast(environ, "audit", "first"))[0] == 2


TAMPERED = {
    "initial": (
        "ALTER TABLE offers DROP CONSTRAINT offers_check; UPDATE offers SET initial = 11 WHERE initial = 10",
        ["initial is 11, and remaining + held + sold make 10"],
    ),
    "held": (
        "UPDATE offers SET held = held - 1, remaining = remaining + 1 WHERE initial = 5",
        ["held is 0, and its reserved orders have 1"],
    ),
    "sold": (
        "UPDATE offers SET sold = 2, held = held - 1 WHERE initial = 10",
        ["held is 2, and its reserved orders have 3", "sold is 2, and its paid orders have 1"],
    ),
    "places": (
        "UPDATE offers SET places = 9 WHERE initial = 5",
        ["places is 9, and its orders have 1"],
    ),
    "status": (
        "UPDATE orders SET status = 'expired' WHERE id = (SELECT order_id FROM order_items WHERE quantity = 2)",
        ["held is 3, and its reserved orders have 1"],
    ),
    "quantity": (
        "UPDATE order_items SET quantity = 3 WHERE quantity = 2",
        [
            "held is 3, and its reserved orders have 4",
            "its total is 2000 won, and its items make 3000",
        ],
    ),
    "price": (
        "UPDATE order_items SET unit_price_krw = 1 WHERE line = 1",
        ["its total is 2000 won, and its items make 1001"],
    ),
    "total": (
        "UPDATE orders SET total_krw = 0 WHERE id = (SELECT order_id FROM order_items WHERE quantity = 2)",
        ["its total is 0 won, and its items make 2000"],
    ),
    "a gap": (
        "UPDATE order_items SET place = 4 WHERE place = 3",
        ["has place 4, and should have place 3"],
    ),
    "a place twice": (
        "DROP INDEX order_items_by_place; UPDATE order_items SET place = 2 WHERE place = 3",
        ["has place 2, and should have place 3"],
    ),
    "an item gone": (
        "DELETE FROM order_items WHERE line = 1",
        [
            "held is 1, and its reserved orders have 0",
            "places is 1, and its orders have 0",
            "its total is 2000 won, and its items make 1000",
        ],
    ),
    "an order gone": (
        "DELETE FROM orders WHERE id = (SELECT order_id FROM order_items WHERE quantity = 2)",
        ["held is 3, and its reserved orders have 1", "line 0: there is no such order"],
    ),
    "all items gone": (
        "DELETE FROM order_items WHERE order_id IN (SELECT order_id FROM order_items WHERE line = 1)",
        [
            *("held is 3, and its reserved orders have 2", "places is 3, and its orders have 2"),
            *("held is 1, and its reserved orders have 0", "places is 1, and its orders have 0"),
            "has place 3, and should have place 2",
            "it has no items",
        ],
    ),
    "an offer gone": ("DELETE FROM offers WHERE initial = 5", ["line 1: there is no offer"]),
    "somebody else": (
        "UPDATE orders SET customer_id = uuidv7() WHERE id = (SELECT order_id FROM order_items WHERE quantity = 2)",
        ["line 0: it is another customer's than its order"],
    ),
}


@pytest.mark.parametrize("kind", TAMPERED)
async def test_audit_finds_what_was_tampered_with(shop: Shop, kind: str) -> None:
    await sell(shop)
    assert (await audit_offers(shop.db, None)).faults == []
    statement, expected = TAMPERED[kind]
    await shop.db.execute(statement)
    found = (await audit_offers(shop.db, None)).faults
    assert len(found) == len(expected), found
    for sentence, fault in zip(expected, found, strict=True):
        assert sentence in fault


async def test_audit_is_right_while_a_sale_goes_on(shop: Shop, other: Client) -> None:
    offers = [await shop.offer(stock=40, per_customer=None) for _ in range(2)]
    sale = asyncio.gather(
        *(shop.buy(*offers, api=api) for _ in range(40) for api in (shop.api, other))
    )
    while not sale.done():
        found = await audit_offers(shop.db, None)
        assert found.faults == []
    await sale
    proofs = (await audit_offers(shop.db, None)).proofs
    assert [proof.partition("  ")[2] for proof in proofs] == [
        "40 = 0 remaining + 40 held + 0 sold, 40 places  Blue mug"
    ] * 2
