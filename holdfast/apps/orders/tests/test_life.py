"""Orders end: by their customer, or by the clock. What they held is back in stock, exactly once."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest

from holdfast.apps.orders.life.actions import AT_ONCE, end_orders, expire_orders
from holdfast.apps.orders.life.queries import lock_overdue
from holdfast.apps.orders.payments.queries import update_order_paid
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.shop import Shop
from holdfast.cli.servers import free_port
from holdfast.core.tests.serving import Answer, Client

HOLD_S = 60
OVERDUE = "UPDATE orders SET held_until = now() - interval '1 s' WHERE id = ANY($1)"


async def cancel(api: Client, order_id: UUID | str, token: str | None) -> Answer:
    return await api.call("POST", f"/api/v1/orders/{order_id}/cancel", token=token)


async def bought(shop: Shop, *offers: UUID, token: str | None = None, quantity: int = 1) -> UUID:
    return UUID((await shop.buy(*offers, token=token, quantity=quantity)).data["id"])


async def events(db: asyncpg.Connection, *types: str) -> list[dict[str, Any]]:
    rows = await db.fetch("SELECT payload FROM outbox WHERE type = ANY($1) ORDER BY id", types)
    return [json.loads(row["payload"]) for row in rows]


@asynccontextmanager
async def sweeper(environ: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Background jobs in a process of their own, which are at work."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "jobs", "orders"),
        *("--metrics-port", str(port)),
        env={**os.environ, **environ},
    )
    try:
        async with (
            asyncio.timeout(30),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            while b'relayed_timestamp_seconds{app="orders"}' not in await _metrics(http):
                await asyncio.sleep(0.05)
        yield process
    finally:
        process.terminate()
        await process.wait()


async def _metrics(http: aiohttp.ClientSession) -> bytes:
    try:
        async with http.get("/metrics") as answer:
            return await answer.read()
    except aiohttp.ClientConnectorError:
        return b""


async def test_cancel_order_puts_its_units_back(shop: Shop, db: asyncpg.Connection) -> None:
    one, two = await shop.offer(stock=5, per_customer=None), await shop.offer(stock=3)
    token = shop.issuer.token()
    placed = await shop.buy(one, token=token, quantity=2)
    other = await bought(shop, one, two, token=token)
    assert await shop.ledger(one) == {"initial": 5, "remaining": 2, "held": 3, "sold": 0}

    cancelled = await cancel(shop.api, placed.data["id"], token)
    assert cancelled.status == 200
    assert cancelled.data == {
        **placed.data,
        "status": "cancelled",
        "changed_at": cancelled.data["changed_at"],
    }
    assert cancelled.data["changed_at"] > placed.data["changed_at"]
    assert await shop.ledger(one) == {"initial": 5, "remaining": 4, "held": 1, "sold": 0}

    assert (await cancel(shop.api, other, token)).status == 200
    assert await shop.ledger(one) == {"initial": 5, "remaining": 5, "held": 0, "sold": 0}
    assert await shop.ledger(two) == {"initial": 3, "remaining": 3, "held": 0, "sold": 0}
    assert [event["order_id"] for event in await events(db, "order.cancelled")] == [
        placed.data["id"],
        str(other),
    ]
    of_one = [told for told in await events(db, "stock.changed") if told["offer_id"] == str(one)]
    assert [(told["changes"], told["remaining"]) for told in of_one] == [
        (1, 3),
        (2, 2),
        (3, 4),
        (4, 5),
    ]


async def test_cancel_order_again_answers_the_same(
    shop: Shop, other: Client, db: asyncpg.Connection
) -> None:
    offer, token = await shop.offer(stock=2), shop.issuer.token()
    order_id = await bought(shop, offer, token=token)
    answers = await asyncio.gather(
        *(cancel(api, order_id, token) for _ in range(20) for api in (shop.api, other))
    )
    answers.append(await cancel(other, order_id, token))
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body == answers[0].body for answer in answers)
    assert (await shop.ledger(offer))["remaining"] == 2
    assert len(await events(db, "order.cancelled")) == 1


async def test_cancel_order_lets_its_customer_buy_again(shop: Shop) -> None:
    offer, token = await shop.offer(stock=2, per_customer=1), shop.issuer.token()
    order_id = await bought(shop, offer, token=token)
    assert (await shop.buy(offer, token=token)).status == 409
    await cancel(shop.api, order_id, token)
    again = await shop.buy(offer, token=token)
    assert (again.status, again.data["items"][0]["place"]) == (201, 2)


async def test_cancel_order_sends_who_has_paid_to_the_refund(shop: Shop, here: Orders) -> None:
    offer, token = await shop.offer(stock=2), shop.issuer.token()
    order_id = await bought(shop, offer, token=token)
    async with here.db.transaction() as db:
        await update_order_paid(db, order_id)
    refused = await cancel(shop.api, order_id, token)
    assert (refused.status, refused.body["type"]) == (409, "/problems/paid-already")
    assert await shop.ledger(offer) == {"initial": 2, "remaining": 1, "held": 0, "sold": 1}


async def test_cancel_order_comes_too_late_for_one_that_expired(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer, token = await shop.offer(stock=2), shop.issuer.token()
    order_id = await bought(shop, offer, token=token)
    await db.execute(OVERDUE, [order_id])
    assert await expire_orders(here.db, HOLD_S) == 1
    refused = await cancel(shop.api, order_id, token)
    assert (refused.status, refused.body["type"]) == (409, "/problems/ended-already")
    assert (await shop.ledger(offer))["remaining"] == 2


async def test_cancel_order_of_somebody_else(shop: Shop) -> None:
    offer = await shop.offer(stock=2)
    order_id = await bought(shop, offer)
    stranger = shop.issuer.token()
    assert (await cancel(shop.api, order_id, stranger)).status == 404
    assert (await cancel(shop.api, uuid4(), stranger)).status == 404
    assert (await cancel(shop.api, "mine", stranger)).status == 422
    assert (await cancel(shop.api, order_id, None)).status == 401
    assert (await shop.ledger(offer))["held"] == 1


async def test_orders_that_are_ended_many_times_at_once_return_their_stock_once(
    shop: Shop, here: Orders
) -> None:
    one, two = await shop.offer(stock=3), await shop.offer(stock=3)
    placed = [await bought(shop, one, two) for _ in range(3)]

    async def end(ids: list[UUID]) -> list[UUID]:
        async with here.db.transaction() as db:
            return await end_orders(db, ids, "expired", HOLD_S)

    ended = await asyncio.gather(*(end(placed[:: (-1) ** n]) for n in range(8)))
    assert sorted(order for some in ended for order in some) == sorted(placed)
    for offer in (one, two):
        assert await shop.ledger(offer) == {"initial": 3, "remaining": 3, "held": 0, "sold": 0}


async def test_only_orders_that_are_overdue_by_the_databases_clock_expire(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=10)
    overdue = [await bought(shop, offer) for _ in range(3)]
    paid, in_time = await bought(shop, offer), await bought(shop, offer)
    async with here.db.transaction() as tx:
        await update_order_paid(tx, paid)
    await db.execute(OVERDUE, [*overdue, paid])
    assert await expire_orders(here.db, HOLD_S) == 3
    assert await expire_orders(here.db, HOLD_S) == 0
    states = await db.fetch("SELECT id, status FROM orders")
    assert {row["id"]: row["status"] for row in states} == {
        **dict.fromkeys(overdue, "expired"),
        paid: "paid",
        in_time: "reserved",
    }
    assert await shop.ledger(offer) == {"initial": 10, "remaining": 8, "held": 1, "sold": 1}
    assert {event["order_id"] for event in await events(db, "order.expired")} == set(
        map(str, overdue)
    )


async def test_a_sweeper_leaves_what_is_overdue_to_one_that_is_at_work(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    order_id = await bought(shop, await shop.offer(stock=1))
    await db.execute(OVERDUE, [order_id])
    async with here.db.transaction() as other:
        assert await lock_overdue(other, AT_ONCE) == [order_id]
        assert await expire_orders(here.db, HOLD_S) == 0
    assert await expire_orders(here.db, HOLD_S) == 1


async def test_cancelled_or_expired_but_never_both(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=40)
    tokens = [shop.issuer.token() for _ in range(40)]
    placed = await asyncio.gather(*(bought(shop, offer, token=token) for token in tokens))
    await db.execute(OVERDUE, placed)
    sweeping = asyncio.create_task(expire_orders(here.db, HOLD_S))
    answers = await asyncio.gather(
        *(cancel(shop.api, *each) for each in zip(placed, tokens, strict=True))
    )
    expired = await sweeping + await expire_orders(here.db, HOLD_S)
    cancelled = [answer for answer in answers if answer.status == 200]
    late = [answer for answer in answers if answer.status == 409]
    assert (len(cancelled) + len(late), expired) == (40, len(late))
    assert len(await events(db, "order.cancelled", "order.expired")) == 40
    assert await shop.ledger(offer) == {"initial": 40, "remaining": 40, "held": 0, "sold": 0}


async def test_expiry_with_two_sweepers_returns_stock_once(
    shop: Shop, db: asyncpg.Connection, environ: dict[str, str]
) -> None:
    """As two processes, to which more overdue orders come while they are at work."""
    offers = [await shop.offer(stock=300, per_customer=None) for _ in range(3)]
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(sweeper(environ)) for _ in range(2)]
        for _ in range(5):
            await asyncio.gather(*(shop.buy(*offers) for _ in range(60)))
            # Those that are overdue by now are the sweepers': neither waits for the other's rows.
            await db.execute("UPDATE orders SET held_until = now() WHERE held_until > now()")
        async with asyncio.timeout(30):
            while await db.fetchval("SELECT count(*) FROM orders WHERE status = 'reserved'"):
                assert [process.returncode for process in processes] == [None, None]
                await asyncio.sleep(0.05)
    for offer in offers:
        assert await shop.ledger(offer) == {"initial": 300, "remaining": 300, "held": 0, "sold": 0}
    ended = [event["order_id"] for event in await events(db, "order.expired")]
    assert (len(ended), len(set(ended))) == (300, 300)


@pytest.mark.parametrize("became", ["cancelled", "expired", "refunded"])
async def test_an_order_ends_only_from_the_state_that_leads_there(
    shop: Shop, here: Orders, became: Any
) -> None:
    offer = await shop.offer(stock=4, per_customer=None)
    reserved, paid = await bought(shop, offer), await bought(shop, offer)
    async with here.db.transaction() as db:
        await update_order_paid(db, paid)
        ended = await end_orders(db, [reserved, paid, uuid4()], became, HOLD_S)
    assert ended == [paid if became == "refunded" else reserved]
    left = {"held": 1, "sold": 0} if became == "refunded" else {"held": 0, "sold": 1}
    assert await shop.ledger(offer) == {"initial": 4, "remaining": 3, **left}
