"""A waiting room: by lot before the opening, first come first served after it, so many a second."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from holdfast.apps.orders.gauges import decided, watchers
from holdfast.apps.orders.main import service
from holdfast.apps.orders.offers.actions import confirm_offers
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room import actions, queries
from holdfast.apps.orders.room.actions import Standing, give_turns, join_rooms, remove_rooms
from holdfast.apps.orders.room.jobs import tend_rooms_for_ever
from holdfast.apps.orders.room.rules import MOST_JOINS, admission_key, write_admission
from holdfast.apps.orders.room.schemas import Guest
from holdfast.apps.orders.tests.explained import Explained
from holdfast.apps.orders.tests.shelf import Shelf
from holdfast.apps.orders.tests.shop import Shop
from holdfast.cli.servers import free_port
from holdfast.core.settings import Settings
from holdfast.core.tests.serving import Answer, Client, served
from holdfast.core.web import build

PER_S = 1_000
Told = dict[str, Any]


async def room(shop: Shop, method: str, offer: UUID | str, token: str | None) -> Answer:
    return await shop.api.call(method, f"/api/v1/offers/{offer}/room", token=token)


async def join(shop: Shop, offer: UUID, customer: UUID | None = None) -> tuple[str, Told]:
    """A customer's token, and their turn."""
    token = shop.issuer.token(customer)
    answer = await room(shop, "POST", offer, token)
    assert answer.status == 200, answer.body
    return token, answer.data


async def admitted(shop: Shop, offer: UUID) -> tuple[str, str]:
    """Somebody's token, and their admission."""
    token, turn = await join(shop, offer)
    assert turn["state"] == "admitted"
    return token, turn["admission"]


async def join_many(here: Orders, offer: UUID, count: int) -> list[UUID]:
    """New customers, in this order; as many at once as come together at most."""
    customers = [uuid4() for _ in range(count)]
    for n in range(0, count, 512):
        joined = await join_rooms(here, [Guest(offer, one) for one in customers[n : n + 512]])
        assert all(isinstance(one, Standing) for one in joined)
    return customers


async def open_now(db: asyncpg.Connection, offer: UUID) -> None:
    await db.execute("UPDATE offers SET opens_at = clock_timestamp() WHERE id = $1", offer)


async def pass_by(db: asyncpg.Connection, offer: UUID, seconds: float) -> None:
    """Let so much time pass for everybody in the room."""
    await db.execute(
        "UPDATE room_entries SET turn_at = turn_at - $2 * interval '1 s' WHERE offer_id = $1",
        offer,
        seconds,
    )
    await db.execute(
        "UPDATE rooms SET next_turn_at = next_turn_at - $2 * interval '1 s' WHERE offer_id = $1",
        offer,
        seconds,
    )


async def no_turn_for_a_minute(db: asyncpg.Connection, offer: UUID) -> None:
    """Whoever joins next has to wait, however slow the test is."""
    await db.execute(
        "UPDATE rooms SET next_turn_at = next_turn_at + interval '60 s' WHERE offer_id = $1", offer
    )


async def in_turn(db: asyncpg.Connection, offer: UUID) -> dict[UUID, datetime]:
    """When each is admitted; first who is first. Each has a turn, and each turn has one number."""
    rows = await db.fetch(
        "SELECT customer_id, number, turn_at FROM room_entries WHERE offer_id = $1 ORDER BY number",
        offer,
    )
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    return {row["customer_id"]: row["turn_at"] for row in rows}


def never_more_than(per_s: int, turns: Sequence[datetime]) -> bool:
    """Two turns are at least this far apart, so no second has more than it may, wherever it starts."""
    apart = timedelta(seconds=1 / per_s)
    return all(later - earlier >= apart for earlier, later in pairwise(turns))


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["type"].removeprefix("/problems/")


async def test_join_room_before_the_opening_gathers(shop: Shop) -> None:
    offer = await shop.offer(admit_per_s=10, opens_in_s=60)
    ada, turn = await join(shop, offer)
    assert (turn["state"], turn["sale"], turn["people"]) == ("gathering", "early", 1)
    assert {turn[name] for name in ("position", "turn_at", "expires_at", "admission")} == {None}
    await join(shop, offer)
    again = await asyncio.gather(*(room(shop, "POST", offer, ada) for _ in range(50)))
    assert {(one.status, one.data["state"], one.data["people"]) for one in again} == {
        (200, "gathering", 2)
    }
    assert (await room(shop, "GET", offer, ada)).data["people"] == 2


async def test_join_room_is_for_offers_that_have_one(shop: Shop, here: Orders) -> None:
    over = await shop.offer(admit_per_s=10, closes_in_s=-1)
    plain, token = await shop.offer(), shop.issuer.token()
    assert problem(await room(shop, "POST", plain, token)) == (404, "no-room")
    assert problem(await room(shop, "POST", over, token)) == (410, "over")
    assert problem(await room(shop, "POST", "that", token)) == (422, "invalid")
    assert problem(await room(shop, "POST", over, None)) == (401, "unauthenticated")
    assert problem(await room(shop, "GET", plain, token)) == (404, "not-in-room")
    assert await here.db.fetchval("SELECT count(*) FROM room_entries") == 0


async def test_join_room_by_ten_thousand_is_by_lot_and_each_waits_as_long_as_the_rate_says(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(admit_per_s=PER_S, opens_in_s=600)
    early = await join_many(here, offer, 10_000)
    await open_now(db, offer)
    late = await join_many(here, offer, 600)
    turns = await in_turn(db, offer)
    rank = {customer: n for n, customer in enumerate(turns)}

    assert set(early) == set(list(turns)[:10_000])
    assert list(turns)[10_000:] == late  # who comes later comes behind, in the order of arrival
    # The mean rank of a thousand drawn by lot lies within 87 of 5,000 two times in three; once in
    # 10^23 it is further off than this.
    for thousand in (early[:1_000], early[-1_000:]):
        assert abs(sum(rank[one] for one in thousand) / 1_000 - 5_000) < 10 * 87
    whens = list(turns.values())
    assert never_more_than(PER_S, whens)
    assert whens[9_999] - whens[0] == timedelta(seconds=9_999 / PER_S)  # and nobody longer


async def test_join_room_is_drawn_once_while_many_draw_and_more_join(
    shop: Shop, here: Orders, settings: Settings, options: Options, db: asyncpg.Connection
) -> None:
    """A worker is cut off in the middle of it, too: what it had drawn was nobody's yet."""
    offer = await shop.offer(admit_per_s=10_000, opens_in_s=600)
    early = await join_many(here, offer, 2_000)
    await open_now(db, offer)
    async with Orders.open(settings, options) as other:
        dying = await other.db.dedicated()
        await dying.execute("BEGIN")
        await queries.lock_rooms(dying, [offer])
        assert await queries.update_turns_given(dying, offer_id=offer, most=500) == 500
        drawing = [
            asyncio.create_task(give_turns(worker.db, offer)) for worker in (here, other) * 4
        ]
        joining = [asyncio.create_task(join_many(worker, offer, 300)) for worker in (here, other)]
        await asyncio.sleep(0.05)
        dying.terminate()
        await asyncio.gather(*drawing)
        late = [customer for each in await asyncio.gather(*joining) for customer in each]
    turns = await in_turn(db, offer)
    assert set(early) == set(list(turns)[:2_000])
    assert set(late) == set(list(turns)[2_000:])
    assert never_more_than(10_000, list(turns.values()))
    counted = await db.fetchrow("SELECT gathered, turns FROM rooms WHERE offer_id = $1", offer)
    assert counted is not None
    assert tuple(counted) == (0, 2_600)


async def test_join_room_gives_turns_although_nobody_asks(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(admit_per_s=1, opens_in_s=600)
    later = await shop.offer(admit_per_s=1, opens_in_s=600)
    await join_many(here, offer, 3)
    await join_many(here, later, 1)
    await open_now(db, offer)
    tending = asyncio.create_task(tend_rooms_for_ever(here.db))
    async with asyncio.timeout(60):
        while await db.fetchval("SELECT gathered FROM rooms WHERE offer_id = $1", offer):
            await asyncio.sleep(0.01)
    tending.cancel()
    assert len(await in_turn(db, offer)) == 3
    assert await db.fetchval("SELECT gathered FROM rooms WHERE offer_id = $1", later) == 1
    await db.execute("UPDATE room_entries SET turn_at = turn_at + interval '60 s' WHERE number > 1")
    assert await queries.select_people(here.db) == 3  # one of the four was admitted at once


async def test_show_turn_moves_up_and_ends(
    shop: Shop, other: Client, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(admit_per_s=1)
    told = []
    for _ in range(4):
        told.append(await join(shop, offer))
        await no_turn_for_a_minute(db, offer)
    assert [turn["state"] for _, turn in told] == ["admitted", "waiting", "waiting", "waiting"]
    assert [turn["position"] for _, turn in told] == [None, 0, 1, 2]
    assert [turn["people"] for _, turn in told] == [0, 1, 2, 3]
    last = told[3][0]

    async def after(seconds: float) -> tuple[str, int | None]:
        await pass_by(db, offer, seconds)
        shown = await other.call("GET", f"/api/v1/offers/{offer}/room", token=last)
        assert shown.data["turn_at"] <= shown.data["expires_at"]
        return shown.data["state"], shown.data["position"]

    assert await after(62) == ("waiting", 1)
    assert await after(122) == ("admitted", None)
    assert await after(120) == ("missed", None)
    assert (await room(shop, "GET", uuid4(), last)).status == 404
    assert (await room(shop, "GET", offer, None)).status == 401


async def test_show_turn_says_that_it_is_sold_out_or_over(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=0, admit_per_s=1)
    _, turn = await join(shop, offer)
    await no_turn_for_a_minute(db, offer)
    token, behind = await join(shop, offer)
    assert (turn["state"], turn["sale"]) == ("admitted", "sold_out")
    assert (behind["state"], behind["sale"]) == ("waiting", "sold_out")
    await db.execute("UPDATE offers SET closes_at = now() WHERE id = $1", offer)
    shown = (await room(shop, "GET", offer, token)).data
    assert (shown["state"], shown["sale"]) == ("waiting", "over")


async def test_join_room_again_after_a_turn_is_for_another_one_behind_all_others(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(admit_per_s=1)
    ada = uuid4()
    await join(shop, offer, ada)
    for joins in range(2, MOST_JOINS + 1):
        await pass_by(db, offer, 200)
        await join(shop, offer)
        await no_turn_for_a_minute(db, offer)
        _, behind = await join(shop, offer)
        _, turn = await join(shop, offer, ada)
        assert (turn["state"], turn["position"]) == ("waiting", 1)
        assert turn["turn_at"] > behind["turn_at"]
        joined = await db.fetchval("SELECT joins FROM room_entries WHERE customer_id = $1", ada)
        assert joined == joins
    await pass_by(db, offer, 200)
    token = shop.issuer.token(ada)
    assert problem(await room(shop, "POST", offer, token)) == (409, "no-more-turns")
    assert (await room(shop, "GET", offer, token)).data["state"] == "missed"


async def test_join_room_again_after_ordering_is_for_those_who_may_buy_more(shop: Shop) -> None:
    for per_customer, state in ((1, "used"), (2, "admitted"), (None, "admitted")):
        offer = await shop.offer(admit_per_s=10_000, per_customer=per_customer)
        token, admission = await admitted(shop, offer)
        assert (await shop.buy(offer, token=token, admission=admission)).status == 201
        assert (await room(shop, "GET", offer, token)).data["state"] == "used"
        assert (await room(shop, "POST", offer, token)).data["state"] == state


async def test_place_order_of_what_has_a_room_is_for_the_admitted(
    shop: Shop, other: Client, settings: Settings, db: asyncpg.Connection
) -> None:
    offer, elsewhere = await shop.offer(admit_per_s=1), await shop.offer(admit_per_s=1)
    ada, bob, eve = uuid4(), uuid4(), uuid4()
    token, turn = await join(shop, offer, ada)
    await no_turn_for_a_minute(db, offer)
    waits, _ = await join(shop, offer, bob)
    _, foreign = await admitted(shop, elsewhere)
    admission = turn["admission"]
    key = admission_key(settings.secret)
    early = write_admission(key, Guest(offer, bob)).decode()
    never = write_admission(key, Guest(offer, eve)).decode()
    refused = decided.of("not-admitted").value

    for by, shown in {
        "nobody's": (token, None),
        "empty": (token, ""),
        "invented": (token, secrets.token_urlsafe(16)),
        "of another offer": (token, foreign),
        "of another customer": (shop.issuer.token(bob), admission),
        "before the turn": (waits, early),
        "of somebody who never joined": (shop.issuer.token(eve), never),
    }.values():
        for api in (shop.api, other):
            answer = await shop.buy(offer, token=by, admission=shown, api=api)
            assert problem(answer) == (403, "not-admitted")
    assert decided.of("not-admitted").value == refused + 14
    assert (await shop.ledger(offer))["held"] == 0

    await pass_by(db, offer, 119)
    assert (await shop.buy(offer, token=waits, admission=early)).status == 201
    await pass_by(db, offer, 2)  # and Ada's turn is over
    assert problem(await shop.buy(offer, token=token, admission=admission)) == (403, "not-admitted")


async def test_place_order_fifty_times_with_one_admission_is_one_order(
    shop: Shop, other: Client
) -> None:
    offer = await shop.offer(stock=100, per_customer=None, admit_per_s=10)
    token, admission = await admitted(shop, offer)
    keys = [str(uuid4()) for _ in range(50)]
    answers = await asyncio.gather(
        *(
            shop.buy(offer, token=token, admission=admission, key=key, api=api)
            for key, api in zip(keys, [shop.api, other] * 25, strict=True)
        )
    )
    won = [n for n, answer in enumerate(answers) if answer.status == 201]
    assert len(won) == 1
    assert {problem(answer) for answer in answers if answer.status != 201} == {
        (403, "not-admitted")
    }
    assert (await shop.ledger(offer))["held"] == 1
    again = await shop.buy(offer, token=token, admission=admission, key=keys[won[0]])
    assert again.body == answers[won[0]].body  # a lost answer is had again, also after the turn
    assert (await room(shop, "GET", offer, token)).data["state"] == "used"


async def test_place_order_that_is_refused_leaves_the_turn(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=0, admit_per_s=10)
    token, admission = await admitted(shop, offer)
    assert problem(await shop.buy(offer, token=token, admission=admission)) == (409, "sold-out")
    await db.execute("UPDATE offers SET initial = 1, remaining = 1 WHERE id = $1", offer)
    await asyncio.sleep(0.3)  # it was remembered to be sold out
    assert (await shop.buy(offer, token=token, admission=admission)).status == 201


async def test_place_order_of_a_basket_needs_a_turn_for_each_that_has_a_room(shop: Shop) -> None:
    one, two = [await shop.offer(admit_per_s=10) for _ in range(2)]
    plain, customer = await shop.offer(), uuid4()
    token, turn = await join(shop, one, customer)
    basket = (one, two, plain)
    first = turn["admission"]
    assert problem(await shop.buy(*basket, token=token, admission=first)) == (403, "not-admitted")
    _, turn = await join(shop, two, customer)
    both = f"{turn['admission']} ,{first}"
    assert (await shop.buy(*basket, token=token, admission=both)).status == 201
    for offer in (one, two):
        assert (await room(shop, "GET", offer, token)).data["state"] == "used"


@asynccontextmanager
async def shop_with_shelf(settings: Settings, shop: Shop) -> AsyncIterator[tuple[Shop, Shelf]]:
    with Shelf.standing() as shelf:
        options = Options(catalog_url=shelf.url)
        async with (
            served(build(settings, service(settings, options))) as url,
            Client.at(url) as api,
        ):
            yield Shop(api, shop.db, shop.issuer), shelf


async def until(shop: Shop, offer: UUID, status: int) -> Answer:
    """What an order without admission is answered once the worker has heard of the change."""
    async with asyncio.timeout(60):
        while (answer := await shop.buy(offer)).status != status:
            await asyncio.sleep(0.05)
    return answer


async def test_place_order_follows_the_catalog_that_makes_and_drops_a_room_in_the_sale(
    settings: Settings, shop: Shop, db: asyncpg.Connection
) -> None:
    """The worker asks it every two seconds; another one asks in between, and the table knows."""
    async with (
        shop_with_shelf(settings, shop) as (sale, shelf),
        Orders.open(settings, Options(catalog_url=shelf.url)) as another,
    ):
        offer = shelf.put(1_000)
        assert (await sale.buy(offer)).status == 201
        assert problem(await room(sale, "POST", offer, sale.issuer.token())) == (404, "no-room")

        shelf.change(offer, admit_per_s=1)
        await confirm_offers(another, [offer])
        assert problem(await sale.buy(offer)) == (403, "not-admitted")
        token, admission = await admitted(sale, offer)
        assert (await sale.buy(offer, token=token, admission=admission)).status == 201
        waits = [(await join(sale, offer))[0] for _ in range(20)][-1]
        given = await in_turn(db, offer)

        shelf.change(offer, admit_per_s=2)
        await confirm_offers(another, [offer])
        for _ in range(2):
            await join(sale, offer)
        turns = list((await in_turn(db, offer)).values())
        assert turns[: len(given)] == list(given.values())  # a turn that was given stays
        assert turns[-1] - turns[-2] == timedelta(seconds=0.5)

        await until(sale, offer, 403)
        shelf.change(offer, admit_per_s=None)
        await confirm_offers(another, [offer])
        assert (await room(sale, "GET", offer, waits)).data["state"] == "admitted"
        assert problem(await room(sale, "POST", offer, waits)) == (404, "no-room")
        await until(sale, offer, 201)


@asynccontextmanager
async def worker_without_redis(settings: Settings) -> AsyncIterator[Client]:
    alone = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}"})
    async with served(build(alone, service(alone))) as url, Client.at(url) as api:
        yield api


async def watch(api: Client, offer: UUID, token: str) -> AsyncIterator[Told]:
    """What one is told, until it ends."""
    async with api.http.get(
        f"{api.url}/api/v1/offers/{offer}/room/events",
        headers={"Authorization": f"Bearer {token}"},
    ) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        async for line in stream.content:
            if line.startswith(b"data: "):
                told: Told = json.loads(line.removeprefix(b"data: "))
                yield told


async def test_watch_turn_tells_of_the_turn_at_its_moment_on_two_workers_without_redis(
    settings: Settings, shop: Shop, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "LOOK_WITHIN_S", 60)
    offer = await shop.offer(admit_per_s=4, opens_in_s=600)
    tokens = [(await join(shop, offer))[0] for _ in range(6)]

    async def listen(api: Client, token: str, stream: AsyncIterator[Told]) -> list[Told]:
        told = [one async for one in stream]
        bought = await shop.buy(offer, token=token, admission=told[-1]["admission"], api=api)
        assert bought.status == 201
        return told

    async with (
        asyncio.timeout(60),
        worker_without_redis(settings) as one,
        worker_without_redis(settings) as two,
    ):
        listeners = list(zip([one, two] * 3, tokens, strict=True))
        streams = [watch(api, offer, token) for api, token in listeners]
        first = [await anext(stream) for stream in streams]
        await db.execute("UPDATE offers SET opens_at = clock_timestamp() + interval '4 s'")
        listening = [
            listen(api, token, stream)
            for (api, token), stream in zip(listeners, streams, strict=True)
        ]
        later = await asyncio.gather(*listening)
        heard = [[one, *others] for one, others in zip(first, later, strict=True)]
    assert len(await in_turn(db, offer)) == 6
    for told in heard:
        states = [one["state"] for one in told]
        assert states[0] == "gathering"
        assert states[-1] == "admitted"
        assert states == sorted(states, key=["gathering", "waiting", "admitted"].index)
        moments = [datetime.fromisoformat(one["now"]) for one in told]
        turn_at = datetime.fromisoformat(told[-1]["turn_at"])
        assert turn_at <= moments[-1]
        assert all(moment < turn_at for moment in moments[:-1])
        positions = [one["position"] for one in told if one["state"] == "waiting"]
        assert positions == sorted(positions, reverse=True)
    assert watchers.value == 0


async def test_watch_turn_ends_with_the_sale_and_is_for_those_in_the_room(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(admit_per_s=1)
    await join_many(here, offer, 100)
    token, _ = await join(shop, offer)
    told = []
    async with asyncio.timeout(60):
        async for one in watch(shop.api, offer, token):
            told.append((one["state"], one["sale"]))
            await db.execute("UPDATE offers SET closes_at = now() WHERE id = $1", offer)
    assert told[0] == ("waiting", "open")
    assert told[-1] == ("waiting", "over")
    path = f"/api/v1/offers/{offer}/room/events"
    assert problem(await shop.api.call("GET", path, token=shop.issuer.token())) == (
        404,
        "not-in-room",
    )
    assert (await shop.api.call("GET", path)).status == 401


async def test_rooms_of_sales_that_are_long_over_are_removed(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    old, new = [await shop.offer(admit_per_s=10) for _ in range(2)]
    for offer in (old, new):
        await join_many(here, offer, 5)
    day = "UPDATE offers SET closes_at = now() - $2 * interval '1 h' WHERE id = $1"
    await db.execute(day, old, 25)
    await db.execute(day, new, 23)
    await remove_rooms(here.db)
    left = "SELECT offer_id FROM rooms UNION SELECT offer_id FROM room_entries"
    assert [row["offer_id"] for row in await db.fetch(left)] == [new]


async def test_no_room_is_read_from_end_to_end(
    shop: Shop, here: Orders, db: asyncpg.Connection
) -> None:
    """Also on the first day, when PostgreSQL has counted nothing yet."""
    for _ in range(2):
        offer = await shop.offer(admit_per_s=10_000, opens_in_s=600)
        customers = await join_many(here, offer, 3_000)
    await open_now(db, offer)
    for generic in (False, True):
        explained = Explained(db, generic)
        some: dict[str, Any] = {"offer_id": offer, "customer_ids": customers[:3]}
        await queries.select_rooms(explained, [offer])
        await queries.select_entries(
            explained, offer_ids=[offer] * 3, customer_ids=some["customer_ids"]
        )
        await queries.lock_entries(explained, **some)
        await queries.lock_admitted(explained, **some, patience=timedelta(seconds=120))
        await queries.update_entries_used(explained, **some)
        for plan in explained.plans:
            assert "room_entries" not in plan.read_whole
        assert len(explained.plans) == 5
