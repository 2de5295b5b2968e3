"""Orders that are asked for are stored, decided about in the order of arrival, and told of."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import msgspec
import pytest

from holdfast.apps.orders.gauges import show_waiting_for_ever
from holdfast.apps.orders.offers import actions as offers
from holdfast.apps.orders.offers.client import HttpCatalog
from holdfast.apps.orders.placing.schemas import Asked, Item
from holdfast.apps.orders.requests import actions, cache, queries, routes
from holdfast.apps.orders.requests.actions import NOTHING, decide_requests, request_orders
from holdfast.apps.orders.requests.jobs import decide_for_ever
from holdfast.apps.orders.requests.schemas import RequestOut
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room.rules import admission_key, write_admission
from holdfast.apps.orders.room.schemas import Guest
from holdfast.apps.orders.tests.shelf import Shelf
from holdfast.apps.orders.tests.shop import Shop, patiently
from holdfast.core.db import DatabaseBusyError
from holdfast.core.telemetry.metrics import Registry
from holdfast.core.tests.serving import Answer, Client

PATH = "/api/v1/order-requests"
SOON_S = 60


@pytest.fixture(autouse=True)
def time_for_the_decider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "CATALOG_ANSWERS_WITHIN_S", SOON_S)


async def ask(
    shop: Shop,
    *offers: UUID,
    quantity: int = 1,
    token: str | None = None,
    key: str | None = None,
    api: Client | None = None,
    admission: bytes = b"",
) -> Answer:
    """As somebody new, under a new key, unless it is said otherwise."""
    items = [{"offer_id": str(offer_id), "quantity": quantity} for offer_id in offers]
    return await patiently(
        partial(
            (api or shop.api).call,
            "POST",
            PATH,
            {"items": items},
            token=token or shop.issuer.token(),
            headers={"Idempotency-Key": key or str(uuid4()), "Admission": admission.decode()},
        )
    )


async def show(shop: Shop, request_id: str, token: str) -> Any:
    answer = await shop.api.call("GET", f"{PATH}/{request_id}", token=token)
    assert answer.status == 200
    return answer.data


@asynccontextmanager
async def listening(
    shop: Shop, request_id: str, token: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"Authorization": f"Bearer {token}"}
    async with shop.api.http.get(
        f"{shop.api.url}{PATH}/{request_id}/events", headers=headers
    ) as stream:
        yield stream


async def next_event(stream: aiohttp.ClientResponse) -> Any:
    """The data of the next one; None at the end."""
    async with asyncio.timeout(SOON_S):
        async for line in stream.content:
            if line.startswith(b"data: "):
                return msgspec.json.decode(line.removeprefix(b"data: "))
    return None


async def states(db: asyncpg.Connection) -> list[str]:
    rows = await db.fetch("SELECT state FROM order_requests ORDER BY id")
    return [row["state"] for row in rows]


async def until(db: asyncpg.Connection, condition: str) -> None:
    async with asyncio.timeout(SOON_S):
        while not await db.fetchval(f"SELECT {condition} FROM order_requests"):  # noqa: S608
            await asyncio.sleep(0.01)


async def test_request_order_is_stored_then_placed_under_its_key(here: Orders, shop: Shop) -> None:
    offer, token, key = await shop.offer(), shop.issuer.token(), str(uuid4())
    asked = await ask(shop, offer, quantity=1, token=token, key=key)
    assert asked.status == 202
    assert asked.headers["Location"] == f"{PATH}/{asked.data['id']}"
    assert asked.data["state"] == "waiting"
    assert await show(shop, asked.data["id"], token) == asked.data
    assert (await shop.ledger(offer))["held"] == 0
    assert (await decide_requests(here, set())).outcomes == {"placed": 1}
    decided = await show(shop, asked.data["id"], token)
    assert (decided["state"], decided["problem"]) == ("placed", None)
    assert decided["decided_at"] >= decided["requested_at"] == asked.data["requested_at"]
    order = await shop.api.call("GET", f"/api/v1/orders/by-key/{key}", token=token)
    assert order.data["id"] == decided["order_id"]
    assert await decide_requests(here, set()) == NOTHING


async def test_request_order_a_hundred_for_ten_are_served_in_the_order_of_arrival(
    here: Orders, shop: Shop, other: Client, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=10)
    answers = await asyncio.gather(*(ask(shop, offer, api=api) for api in (shop.api, other) * 50))
    assert {answer.status for answer in answers} == {202}
    turn = await decide_requests(here, set())
    assert turn.outcomes == {"placed": 10, "sold-out": 90}
    assert await states(db) == ["placed"] * 10 + ["refused"] * 90
    rows = await db.fetch(
        """SELECT place FROM order_requests JOIN order_items USING (order_id) ORDER BY id"""
    )
    assert [row["place"] for row in rows] == list(range(1, 11))
    problem = await db.fetchval("SELECT problem FROM order_requests ORDER BY id DESC LIMIT 1")
    assert msgspec.json.decode(problem)["type"] == "/problems/sold-out"


async def test_request_order_while_another_process_decides_is_left_to_it(
    here: Orders, shop: Shop, db: asyncpg.Connection
) -> None:
    await ask(shop, await shop.offer())
    async with db.transaction():
        await queries.lock_decisions(db)
        assert await decide_requests(here, set()) == NOTHING
    assert (await decide_requests(here, set())).outcomes == {"placed": 1}


async def test_request_order_while_nobody_may_be_added_keeps_nobody_waiting_in_turn(
    here: Orders, shop: Shop, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty come while the lock is not to be had for two seconds: all are told so when the first is."""
    items = (Item(await shop.offer(), 1),)
    asked = [Asked(uuid4(), "key", b"", items) for _ in range(50)]
    monkeypatch.undo()
    async with Orders.open(here.settings, here.options) as impatient, db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(hashtext('orders.order_requests'))")
        began = perf_counter()
        refused = await asyncio.gather(*map(impatient.merged(request_orders), asked))
    assert {type(answer) for answer in refused} == {DatabaseBusyError}
    assert perf_counter() - began < 50
    stored = await asyncio.gather(*map(here.merged(request_orders), asked))
    ids = [request.id for request in stored if isinstance(request, RequestOut)]
    assert ids == sorted(set(ids))
    assert len(ids) == 50


async def test_request_order_one_key_is_one_request(
    here: Orders, shop: Shop, other: Client, db: asyncpg.Connection
) -> None:
    offer, token, key = await shop.offer(), shop.issuer.token(), str(uuid4())
    asking = (ask(shop, offer, token=token, key=key, api=api) for api in (shop.api, other) * 10)
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {202}
    assert all(answer.body == answers[0].body for answer in answers)
    assert await states(db) == ["waiting"]
    reused = await ask(shop, offer, quantity=2, token=token, key=key)
    assert (reused.status, reused.body["type"]) == (422, "/problems/key-reused")
    somebody_else = await ask(shop, offer, key=key)
    assert somebody_else.data["id"] != answers[0].data["id"]
    await decide_requests(here, set())
    again = await ask(shop, offer, token=token, key=key)
    assert (again.status, again.data["state"]) == (202, "placed")
    assert again.data["id"] == answers[0].data["id"]


async def test_request_order_under_the_key_of_an_order_finds_it(here: Orders, shop: Shop) -> None:
    """And an order under the key of a request is placed at once; the request finds it."""
    first, last = await shop.offer(), await shop.offer()
    buyer, asker = shop.issuer.token(), shop.issuer.token()
    ordered = await shop.buy(first, token=buyer, key="one")
    requested = await ask(shop, first, token=buyer, key="one")
    otherwise = await ask(shop, last, token=buyer, key="two")
    assert (await shop.buy(first, token=buyer, key="two", quantity=2)).status == 409
    waiting = await ask(shop, last, token=asker, key="one")
    meanwhile = await shop.buy(last, token=asker, key="one")
    assert (meanwhile.status, meanwhile.data["items"][0]["place"]) == (201, 1)
    await decide_requests(here, set())
    found = await show(shop, requested.data["id"], buyer)
    assert (found["state"], found["order_id"]) == ("placed", ordered.data["id"])
    found = await show(shop, waiting.data["id"], asker)
    assert (found["state"], found["order_id"]) == ("placed", meanwhile.data["id"])
    assert (await show(shop, otherwise.data["id"], buyer))["state"] == "placed"
    assert (await shop.ledger(first))["held"] == 1
    assert (await shop.ledger(last))["held"] == 2
    reused = await ask(shop, first, token=asker, key="one")
    assert reused.status == 422  # by the request
    taken = await ask(shop, last, token=buyer, key="one-more")
    bought = await shop.buy(await shop.offer(), token=buyer, key="one-more")
    assert bought.status == 201
    await decide_requests(here, set())
    refused = await show(shop, taken.data["id"], buyer)
    assert refused["problem"]["type"] == "/problems/key-reused"


async def test_request_order_is_refused_as_an_order_would_be(
    here: Orders, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "ASK_FIRST_S", 600)  # the shelf would say that they are gone
    token = shop.issuer.token()
    mine = await shop.offer()
    assert (await shop.buy(mine, token=token)).status == 201
    async with Shelf.open() as shelf:
        told = replace(here, catalog=HttpCatalog(shelf.url, here.http))
        for basket, problem in (
            ([await shop.offer(opens_in_s=60)], "too-early"),
            ([await shop.offer(closes_in_s=-1)], "over"),
            ([mine], "limit-reached"),
            ([await shop.offer(), uuid4()], "unknown-offer"),
        ):
            asked = await ask(shop, *basket, token=token)
            assert asked.status == 202
            assert (await decide_requests(told, set())).outcomes == {problem: 1}
            refused = await show(shop, asked.data["id"], token)
            assert (refused["state"], refused["order_id"]) == ("refused", None)
            assert refused["problem"]["type"] == f"/problems/{problem}"
            assert refused["problem"]["detail"]


async def test_request_order_of_what_has_a_waiting_room_is_for_whoever_was_admitted(
    here: Orders, shop: Shop, db: asyncpg.Connection
) -> None:
    offer, customers = await shop.offer(), [uuid4(), uuid4()]
    await db.execute("UPDATE offers SET admit_per_s = 1")
    await db.execute(
        """INSERT INTO room_entries (offer_id, customer_id, number, turn_at) VALUES
             ($1, $2, 1, now()), ($1, $3, 2, now() + interval '1 hour')""",
        offer,
        *customers,
    )
    nobody = await ask(shop, offer)
    assert (nobody.status, nobody.body["type"]) == (403, "/problems/not-admitted")
    assert await states(db) == []
    secret = admission_key(here.settings.secret)
    for customer, outcome in zip(customers, ("placed", "not-admitted"), strict=True):
        shown = write_admission(secret, Guest(offer, customer))
        token = shop.issuer.token(customer)
        assert (await ask(shop, offer, token=token, admission=shown)).status == 202
        assert (await decide_requests(here, set())).outcomes == {outcome: 1}


async def test_request_order_that_is_no_order_leaves_no_trace(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer()
    for quantity in (0, -1, 1_001):
        assert (await ask(shop, offer, quantity=quantity)).status == 422
    assert (await ask(shop, offer, offer)).status == 422
    assert (await ask(shop)).status == 422
    assert (await ask(shop, offer, key="a b")).status == 422
    assert (await ask(shop, offer, token="nobody")).status == 401
    assert await states(db) == []


async def test_request_order_is_refused_early_when_too_many_wait(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer, token = await shop.offer(), shop.issuer.token()
    known = await ask(shop, offer, token=token, key="known")
    await db.execute(
        """INSERT INTO order_requests (customer_id, key, digest, items, requested_at)
           SELECT uuidv7(), 'some', '', '[]', now() FROM generate_series(3, $1)""",
        actions.MOST_WAITING,
    )
    answers = await asyncio.gather(*(ask(shop, offer) for _ in range(5)))
    assert Counter(answer.status for answer in answers) == {202: 1, 503: 4}
    full = await ask(shop, offer)
    assert (full.status, full.body["type"]) == (503, "/problems/queue-full")
    assert int(full.headers["Retry-After"]) >= 1
    again = await ask(shop, offer, token=token, key="known")
    assert (again.status, again.body) == (202, known.body)


async def test_request_order_while_the_catalog_is_away_waits_and_keeps_nobody_else_waiting(
    here: Orders, shop: Shop, db: asyncpg.Connection
) -> None:
    """More wait for what is not known than are looked at in one turn; they are served in order."""
    async with Shelf.open() as shelf:
        told = replace(here, catalog=HttpCatalog(shelf.url, here.http))
        new, known = shelf.put(2, per_customer=1), await shop.offer(stock=1)
        shelf.stop()
        await asyncio.gather(*(ask(shop, new) for _ in range(3)))
        await db.execute(
            """INSERT INTO order_requests (customer_id, key, digest, items, requested_at)
               SELECT uuidv7(), 'some', '', items, requested_at
               FROM order_requests, generate_series(1, $1)""",
            actions.AT_ONCE // 3,
        )
        await ask(shop, known)
        deciding = asyncio.create_task(decide_for_ever(told))
        try:
            await until(db, "count(*) FILTER (WHERE state = 'placed') = 1")
            assert (await shop.ledger(known))["held"] == 1
            shelf.start()
            await until(db, "count(*) FILTER (WHERE state = 'waiting') = 0")
        finally:
            deciding.cancel()
    told_of = await states(db)
    assert told_of[:3] == ["placed", "placed", "refused"]
    assert set(told_of[3:-1]) == {"refused"}
    assert told_of[-1] == "placed"


WAITS_AGAIN = """
SELECT next_try_at - (SELECT max(decided_at) FROM order_requests)
FROM order_requests WHERE state = 'waiting'
"""


async def test_request_order_that_cannot_be_stored_is_refused_in_the_end_and_stops_nobody(
    here: Orders, shop: Shop, db: asyncpg.Connection
) -> None:
    await db.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'poison'; END $$;
           CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.key = 'poison')
             EXECUTE FUNCTION refuse()"""
    )
    offer, token = await shop.offer(), shop.issuer.token()
    poison = await ask(shop, offer, token=token, key="poison")
    await ask(shop, offer)
    assert (await decide_requests(here, set())).outcomes == {"placed": 1}
    assert await states(db) == ["waiting", "placed"]
    assert await db.fetchval(WAITS_AGAIN) > timedelta(seconds=1)  # not at once again
    await db.execute("UPDATE order_requests SET next_try_at = next_try_at + interval '1 h'")
    assert await decide_requests(here, set()) == NOTHING
    assert await db.fetchval("SELECT max(tries) FROM order_requests") == 1
    for _ in range(actions.MOST_TRIES):
        await db.execute("UPDATE order_requests SET next_try_at = now()")
        assert await states(db) == ["waiting", "placed"]
        await decide_requests(here, set())
    refused = await show(shop, poison.data["id"], token)
    assert (refused["state"], refused["problem"]["status"]) == ("refused", 500)


async def test_show_request_is_for_whoever_asked(shop: Shop) -> None:
    asked = await ask(shop, await shop.offer())
    for path in (f"{PATH}/{asked.data['id']}", f"{PATH}/{uuid4()}"):
        for address in (path, f"{path}/events"):
            answer = await shop.api.call("GET", address, token=shop.issuer.token())
            assert (answer.status, answer.body["type"]) == (404, "/problems/no-such-request")
            assert (await shop.api.call("GET", address)).status == 401


async def test_watch_request_tells_what_was_decided_and_ends(here: Orders, shop: Shop) -> None:
    offer, token = await shop.offer(stock=1), shop.issuer.token()
    asked = await ask(shop, offer, token=token)
    async with listening(shop, asked.data["id"], token) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.headers["Cache-Control"] == "no-store"
        assert await next_event(stream) == asked.data
        await decide_requests(here, set())
        told = await next_event(stream)
        assert told == await show(shop, asked.data["id"], token)
        assert told["state"] == "placed"
        assert await next_event(stream) is None
    async with listening(shop, asked.data["id"], token) as stream:
        assert await next_event(stream) == told
        assert await next_event(stream) is None


LOOKS = """SELECT coalesce(sum(calls), 0)::bigint FROM public.pg_stat_statements s
    JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND query LIKE '%state <> %'"""


async def test_watch_request_by_many_is_one_look_for_all_and_none_when_they_have_left(
    shop: Shop, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(cache, "MOST", 30)
    await db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    token = shop.issuer.token()
    requests = [(await ask(shop, await shop.offer(), token=token)).data["id"] for _ in range(3)]
    began, before = perf_counter(), await db.fetchval(LOOKS)
    async with AsyncExitStack() as crowd:
        streams = [
            await crowd.enter_async_context(listening(shop, request_id, token))
            for request_id in requests * 10
        ]
        for stream in streams:
            while await stream.content.readline() != b":\n":
                assert not stream.content.at_eof()
        looked = await db.fetchval(LOOKS)
        while (looks := await db.fetchval(LOOKS)) < looked + 3:
            await stream.content.readline()
        assert looks - before <= 1 + (perf_counter() - began) / cache.LOOK_EVERY_S
        path = f"{PATH}/{requests[0]}/events"
        full = await shop.api.call("GET", path, token=token)
        assert (full.status, full.body["type"]) == (503, "/problems/too-many-listeners")
    async with asyncio.timeout(SOON_S):
        while looks != (looks := await db.fetchval(LOOKS)):
            await asyncio.sleep(3 * cache.LOOK_EVERY_S)


async def test_what_waits_is_counted(here: Orders, shop: Shop) -> None:
    registry = Registry()
    await ask(shop, await shop.offer())
    counting = asyncio.create_task(show_waiting_for_ever(here.db, registry))
    async with asyncio.timeout(SOON_S):
        while "holdfast_orders_requests_waiting 1" not in registry.render():
            await asyncio.sleep(0.01)
    counting.cancel()
    oldest_s = re.search(r"\nholdfast_orders_requests_oldest_seconds (\S+)", registry.render())
    assert oldest_s
    assert 0 < float(oldest_s[1]) < SOON_S
