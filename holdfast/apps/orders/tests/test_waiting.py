"""Who came too late stands in line, and has what comes back before anybody who comes later."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from holdfast.apps.orders.handover.actions import serve_waiting
from holdfast.apps.orders.life.actions import expire_orders
from holdfast.apps.orders.offers.actions import confirm_offers
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.placing.actions import place_orders
from holdfast.apps.orders.placing.queries import lock_offers
from holdfast.apps.orders.placing.schemas import Asked, Item
from holdfast.apps.orders.records.schemas import OrderOut
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.shelf import Shelf
from holdfast.apps.orders.tests.shop import Shop
from holdfast.apps.orders.waiting.actions import tend_lines
from holdfast.apps.orders.waiting.schemas import MOST_IN_LINE
from holdfast.core.settings import Settings
from holdfast.core.tests.serving import Answer, Client

HOLD_S = 60


async def line(shop: Shop, method: str, offer: UUID | str, token: str | None) -> Answer:
    return await shop.api.call(method, f"/api/v1/offers/{offer}/waiting", token=token)


async def join(shop: Shop, offer: UUID, count: int = 1) -> list[UUID]:
    """New customers, in line one behind the other."""
    customers = [uuid4() for _ in range(count)]
    for customer in customers:
        assert (await line(shop, "POST", offer, shop.issuer.token(customer))).status == 201
    return customers


async def sold_out(shop: Shop, stock: int = 1, **terms: Any) -> tuple[UUID, list[UUID]]:
    """An offer, and the orders that have all of it."""
    offer = await shop.offer(stock=stock, **terms)
    answers = [await shop.buy(offer) for _ in range(stock)]
    return offer, [UUID(answer.data["id"]) for answer in answers]


async def expire(here: Orders, db: asyncpg.Connection, *orders: UUID) -> None:
    await db.execute("UPDATE orders SET held_until = now() WHERE id = ANY($1)", orders)
    assert await expire_orders(here.db, HOLD_S) == len(orders)


async def served(db: asyncpg.Connection, offer: UUID) -> list[UUID]:
    """Whose orders came from the line, by their places in the sale."""
    rows = await db.fetch(
        """SELECT orders.customer_id FROM orders JOIN order_items ON order_id = orders.id
           WHERE offer_id = $1 AND key = 'waiting:' || orders.id ORDER BY place""",
        offer,
    )
    return [row["customer_id"] for row in rows]


async def test_join_waiting_tells_ones_place(shop: Shop) -> None:
    offer, _ = await sold_out(shop)
    first, second = shop.issuer.token(), shop.issuer.token()
    joined = [await line(shop, "POST", offer, token) for token in (first, second, first)]
    assert [answer.status for answer in joined] == [201, 201, 201]
    assert [answer.data for answer in joined] == [
        {"position": 1, "total": 1},
        {"position": 2, "total": 2},
        {"position": 1, "total": 2},
    ]


async def test_join_waiting_by_hundreds_at_once(shop: Shop) -> None:
    tokens = [shop.issuer.token() for _ in range(300)]
    offer, _ = await sold_out(shop)  # after them: what was confirmed while they are made grows old
    joined = await asyncio.gather(*(line(shop, "POST", offer, token) for token in tokens * 2))
    assert {answer.status for answer in joined} == {201}
    positions = [answer.data["position"] for answer in joined[:300]]
    assert sorted(positions) == list(range(1, 301))
    assert [answer.data["position"] for answer in joined[300:]] == positions


async def test_join_waiting_is_for_those_who_could_buy(shop: Shop, here: Orders) -> None:
    left = await shop.offer(stock=1)
    early = await shop.offer(stock=0, opens_in_s=60)
    over = await shop.offer(stock=0, closes_in_s=-1)
    limited = await shop.offer(stock=1, per_customer=1)
    owner = shop.issuer.token()
    await shop.buy(limited, token=owner)

    async def refusal(offer: UUID | str, token: str | None) -> tuple[int, str]:
        refused = await line(shop, "POST", offer, token)
        return refused.status, refused.body["type"].rpartition("/")[2]

    assert await refusal(left, owner) == (409, "not-sold-out")
    assert await refusal(early, owner) == (425, "too-early")
    assert await refusal(over, owner) == (410, "over")
    assert await refusal(limited, owner) == (409, "limit-reached")
    assert await refusal("that", owner) == (422, "invalid")
    assert await refusal(left, None) == (401, "unauthenticated")
    assert await here.db.fetchval("SELECT count(*) FROM waiting") == 0


async def test_join_waiting_ends_when_the_line_is_full(shop: Shop, db: asyncpg.Connection) -> None:
    offer, _ = await sold_out(shop)
    await db.execute(
        """INSERT INTO waiting (offer_id, customer_id)
           SELECT $1, uuidv7() FROM generate_series(2, $2::integer)""",
        offer,
        MOST_IN_LINE,
    )
    tokens = [shop.issuer.token() for _ in range(20)]
    answers = await asyncio.gather(*(line(shop, "POST", offer, token) for token in tokens))
    joined = [answer.data for answer in answers if answer.status == 201]
    assert joined == [{"position": MOST_IN_LINE, "total": MOST_IN_LINE}]
    full = {answer.body["type"] for answer in answers if answer.status == 409}
    assert full == {"/problems/line-full"}


async def test_show_waiting_moves_up_as_others_are_served(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer, orders = await sold_out(shop, stock=2)
    tokens = [shop.issuer.token(customer) for customer in await join(shop, offer, 4)]
    assert (await line(shop, "GET", offer, tokens[3])).data == {"position": 4, "total": 4}
    await expire(here, db, *orders)
    assert (await line(shop, "GET", offer, tokens[3])).data == {"position": 2, "total": 2}
    gone = await line(shop, "GET", offer, tokens[0])
    assert (gone.status, gone.body["type"]) == (404, "/problems/not-waiting")
    assert (await line(shop, "GET", uuid4(), tokens[3])).status == 404
    assert (await line(shop, "GET", offer, None)).status == 401


async def test_leave_waiting_gives_ones_place_up(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer, orders = await sold_out(shop)
    first, second = await join(shop, offer, 2)
    token = shop.issuer.token(first)
    assert (await line(shop, "DELETE", offer, token)).status == 204
    assert (await line(shop, "DELETE", offer, token)).status == 204
    assert (await line(shop, "DELETE", offer, None)).status == 401
    await expire(here, db, *orders)
    assert await served(db, offer) == [second]


async def test_leave_waiting_or_be_served_but_never_both(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    """Whoever leaves while they are being served has an order, and nobody's unit is lost."""
    offer, orders = await sold_out(shop, stock=10)
    waiting = await join(shop, offer, 20)
    await asyncio.gather(
        expire(here, db, *orders),
        *(line(shop, "DELETE", offer, shop.issuer.token(one)) for one in waiting[::2]),
    )
    lucky = await served(db, offer)
    assert len(lucky) == 10
    assert lucky == [one for one in waiting if one in lucky]
    in_line = await db.fetch("SELECT customer_id FROM waiting ORDER BY number")
    assert [row["customer_id"] for row in in_line] == [
        one for one in waiting[1::2] if one not in lucky
    ]
    assert await shop.ledger(offer) == {"initial": 10, "remaining": 0, "held": 10, "sold": 0}


async def test_a_unit_that_comes_back_is_an_order_of_whoever_is_first_in_line(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=1, price_krw=5_000)
    owner = shop.issuer.token()
    sold = await shop.buy(offer, token=owner)
    first, _second = await join(shop, offer, 2)
    await shop.api.call("POST", f"/api/v1/orders/{sold.data['id']}/cancel", token=owner)

    order = await db.fetchrow("SELECT * FROM orders WHERE customer_id = $1", first)
    assert order is not None
    assert (order["status"], order["total_krw"]) == ("reserved", 5_000)
    assert order["held_until"] - order["placed_at"] == await db.fetchval(
        "SELECT held_until - placed_at FROM orders WHERE id = $1", UUID(sold.data["id"])
    )
    item = await db.fetchrow("SELECT * FROM order_items WHERE order_id = $1", order["id"])
    assert item is not None
    assert (item["place"], item["quantity"], item["unit_price_krw"], item["name"]) == (
        *(2, 1, 5_000),
        "Blue mug",
    )
    assert await shop.ledger(offer) == {"initial": 1, "remaining": 0, "held": 1, "sold": 0}

    told = await db.fetch("SELECT type, payload FROM outbox ORDER BY id")
    by_type = {row["type"]: json.loads(row["payload"]) for row in told}
    assert by_type["waiting.served"] == {
        "offer_id": str(offer),
        "customer_id": str(first),
        "order_id": str(order["id"]),
    }
    assert by_type["order.placed"]["order_id"] == str(order["id"])
    last = by_type["stock.changed"]
    assert last["changes"] == await db.fetchval("SELECT changes FROM offers WHERE id = $1", offer)
    assert (last["remaining"], last["held"]) == (0, 1)


async def test_no_newcomer_overtakes_who_waits(
    shop: Shop, other: Client, here: Orders, db: asyncpg.Connection
) -> None:
    """Newcomers ask the database itself, again and again, while units come back."""
    offer = await shop.offer(stock=20)
    owners = [shop.issuer.token() for _ in range(20)]
    orders = [(await shop.buy(offer, token=owner)).data["id"] for owner in owners]
    waiting = await join(shop, offer, 25)
    done = asyncio.Event()
    refused = 0

    async def storm() -> list[OrderOut]:
        nonlocal refused
        won: list[OrderOut] = []
        while not done.is_set():
            asked = [Asked(uuid4(), "one", b"", (Item(offer, 1),)) for _ in range(10)]
            answers = await place_orders(here, asked)
            won += [answer for answer in answers if isinstance(answer, OrderOut)]
            refused += len(answers)
        return won

    storms = [asyncio.create_task(storm()) for _ in range(3)]
    for order, owner in zip(orders, owners, strict=True):
        before = refused
        await other.call("POST", f"/api/v1/orders/{order}/cancel", token=owner)
        while refused == before:
            await asyncio.sleep(0)
    done.set()
    assert await asyncio.gather(*storms) == [[], [], []]
    assert refused >= 200
    assert await served(db, offer) == waiting[:20]
    assert await shop.ledger(offer) == {"initial": 20, "remaining": 0, "held": 20, "sold": 0}


async def test_more_units_than_wait_for_them_are_on_sale_again(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer, orders = await sold_out(shop, stock=5)
    waiting = await join(shop, offer, 2)
    await expire(here, db, *orders)
    assert await served(db, offer) == waiting
    assert await shop.ledger(offer) == {"initial": 5, "remaining": 3, "held": 2, "sold": 0}


async def test_a_larger_quota_is_for_those_who_wait(
    shop: Shop, settings: Settings, db: asyncpg.Connection
) -> None:
    async with (
        Shelf.open() as shelf,
        Orders.open(settings, Options(catalog_url=shelf.url)) as here,
    ):
        offer = shelf.put(quantity=1)
        await confirm_offers(here, [offer])
        await place_orders(here, [Asked(uuid4(), "one", b"", (Item(offer, 1),))])
        waiting = await join(shop, offer, 3)
        shelf.put(quantity=3, offer_id=offer)
        await confirm_offers(here, [offer])
        assert await served(db, offer) == waiting[:2]
        assert await shop.ledger(offer) == {"initial": 3, "remaining": 0, "held": 3, "sold": 0}


async def test_who_has_as_many_as_one_may_buy_is_passed_over(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    """They had fewer, or might have had more, when they joined."""
    offer = await shop.offer(stock=6, per_customer=3)
    rich = uuid4()
    await shop.buy(offer, token=shop.issuer.token(rich), quantity=2)
    orders = [UUID((await shop.buy(offer)).data["id"]) for _ in range(4)]
    assert (await line(shop, "POST", offer, shop.issuer.token(rich))).status == 201
    waiting = await join(shop, offer, 2)
    await db.execute("UPDATE offers SET per_customer = 2 WHERE id = $1", offer)
    await expire(here, db, orders[0])
    assert await served(db, offer) == waiting[:1]
    assert await db.fetchval("SELECT count(*) FROM waiting") == 1
    await expire(here, db, *orders[1:3])
    assert await served(db, offer) == waiting
    assert (await shop.ledger(offer))["remaining"] == 1


@pytest.mark.parametrize("comes_back", [0, 2])
async def test_nobody_waits_for_a_sale_that_is_over(
    shop: Shop, here: Orders, db: asyncpg.Connection, comes_back: int
) -> None:
    offer, orders = await sold_out(shop, stock=2)
    await join(shop, offer, 3)
    still_open, _ = await sold_out(shop)
    await join(shop, still_open)
    await db.execute("UPDATE offers SET closes_at = now() WHERE id = $1", offer)
    await expire(here, db, *orders[:comes_back])
    assert await served(db, offer) == []
    await tend_lines(here.db, HOLD_S)
    in_line = await db.fetch("SELECT offer_id FROM waiting")
    assert [row["offer_id"] for row in in_line] == [still_open]
    assert (await shop.ledger(offer))["remaining"] == comes_back


async def test_what_is_left_finds_those_who_wait(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    """However it came to be: here by hand. Two who look after the line serve it once."""
    offer, _ = await sold_out(shop)
    waiting = await join(shop, offer, 3)
    await db.execute("UPDATE offers SET initial = initial + 2, remaining = 2 WHERE id = $1", offer)
    await asyncio.gather(*(tend_lines(here.db, HOLD_S) for _ in range(4)))
    assert await served(db, offer) == waiting[:2]
    assert await shop.ledger(offer) == {"initial": 3, "remaining": 0, "held": 3, "sold": 0}


async def test_lines_of_several_offers_are_served_together(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    one, two = await shop.offer(stock=2, per_customer=None), await shop.offer(stock=2)
    orders = [UUID((await shop.buy(one, two)).data["id"]) for _ in range(2)]
    both = uuid4()
    for offer in (one, two):
        assert (await line(shop, "POST", offer, shop.issuer.token(both))).status == 201
    behind = await join(shop, two)
    await expire(here, db, *orders)
    assert (await served(db, one), await served(db, two)) == ([both], [both, *behind])
    async with here.db.transaction() as tx:
        await lock_offers(tx, [one, two])
        await serve_waiting(tx, [one, two], HOLD_S)
    assert await shop.ledger(one) == {"initial": 2, "remaining": 1, "held": 1, "sold": 0}
    assert await shop.ledger(two) == {"initial": 2, "remaining": 0, "held": 2, "sold": 0}
