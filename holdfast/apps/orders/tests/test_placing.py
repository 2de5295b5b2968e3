"""Orders are placed: in the order of arrival, once for each key, and never one too many."""

import asyncio
import json
from collections.abc import Mapping
from io import BytesIO
from time import monotonic, perf_counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from multidict import CIMultiDict

from holdfast.apps.orders.gauges import decided
from holdfast.apps.orders.offers import actions as offers
from holdfast.apps.orders.placing import actions, cache
from holdfast.apps.orders.placing.actions import place_orders
from holdfast.apps.orders.placing.cache import SoldOut
from holdfast.apps.orders.placing.schemas import Asked, Item
from holdfast.apps.orders.records.schemas import OrderOut
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.db import DatabaseBusyError
from holdfast.core.tests.issuer import issuing
from holdfast.core.tests.serving import Client


async def test_place_order_sells_exactly_what_there_is(shop: Shop) -> None:
    offer = await shop.offer(stock=10)
    answers = await asyncio.gather(*(shop.buy(offer) for _ in range(100)))
    won = [answer for answer in answers if answer.status == 201]
    lost = [answer for answer in answers if answer.status == 409]
    assert (len(won), len(lost)) == (10, 90)
    assert sorted(answer.data["items"][0]["place"] for answer in won) == list(range(1, 11))
    assert {answer.body["type"] for answer in lost} == {"/problems/sold-out"}
    assert await shop.ledger(offer) == {"initial": 10, "remaining": 0, "held": 10, "sold": 0}


async def test_place_order_once_for_a_key(shop: Shop, other: Client) -> None:
    offer = await shop.offer(stock=10, per_customer=None)
    token, key = shop.issuer.token(), str(uuid4())
    answers = await asyncio.gather(
        *(
            shop.buy(offer, token=token, key=key, api=api)
            for _ in range(25)
            for api in (shop.api, other)
        )
    )
    assert {answer.status for answer in answers} == {201}
    assert all(answer.body == answers[0].body for answer in answers)
    assert (await shop.ledger(offer))["held"] == 1


async def test_place_order_refuses_a_key_of_another_order(shop: Shop) -> None:
    one, two = await shop.offer(), await shop.offer()
    token, key = shop.issuer.token(), str(uuid4())
    assert (await shop.buy(one, token=token, key=key)).status == 201
    again = await shop.buy(two, token=token, key=key)
    assert (again.status, again.body["type"]) == (422, "/problems/key-reused")
    assert (await shop.ledger(two))["held"] == 0


async def test_place_order_of_a_basket_is_all_or_nothing(shop: Shop) -> None:
    mug = await shop.offer(stock=5, price_krw=2_000, per_customer=None)
    hat = await shop.offer(stock=2, price_krw=30_000, per_customer=None)
    bought = await shop.buy(hat, mug, quantity=2)
    assert (bought.status, bought.data["total_krw"]) == (201, 64_000)
    assert [item["offer_id"] for item in bought.data["items"]] == sorted([str(mug), str(hat)])
    assert bought.headers["Location"] == f"/api/v1/orders/{bought.data['id']}"
    assert (await shop.buy(mug, hat)).status == 409
    assert await shop.ledger(mug) == {"initial": 5, "remaining": 3, "held": 2, "sold": 0}
    assert await shop.ledger(hat) == {"initial": 2, "remaining": 0, "held": 2, "sold": 0}


async def test_place_order_to_the_limit_and_no_further(shop: Shop) -> None:
    offer, token = await shop.offer(per_customer=3), shop.issuer.token()
    first = await shop.buy(offer, quantity=2, token=token)
    beyond = await shop.buy(offer, quantity=2, token=token)
    assert (beyond.status, beyond.body["type"]) == (409, "/problems/limit-reached")
    assert (await shop.buy(offer, token=token)).status == 201
    await shop.api.call("POST", f"{first.headers['Location']}/cancel", token=token)
    assert (await shop.buy(offer, quantity=2, token=token)).status == 201
    assert (await shop.ledger(offer))["held"] == 3


async def test_place_order_only_while_the_sale_is_open(shop: Shop) -> None:
    early, over = await shop.offer(opens_in_s=60), await shop.offer(closes_in_s=-1)
    refused = [await shop.buy(early), await shop.buy(over), await shop.buy(early, over)]
    told = [(answer.status, answer.body["type"]) for answer in refused]
    assert told[:2] == [(425, "/problems/too-early"), (410, "/problems/over")]
    assert told[2] in told[:2]
    always = await shop.offer(opens_in_s=None, closes_in_s=None)
    assert (await shop.buy(always)).status == 201


async def test_place_order_has_no_later_place_at_an_earlier_time(
    shop: Shop, other: Client, db: asyncpg.Connection
) -> None:
    """Whoever came first to a worker may come second to the lock."""
    offer = await shop.offer(stock=200)
    apis = [shop.api, other] * 100
    await asyncio.gather(*(shop.buy(offer, api=api) for api in apis))
    rows = await db.fetch(
        """SELECT placed_at FROM order_items JOIN orders ON orders.id = order_id
           WHERE offer_id = $1 ORDER BY place""",
        offer,
    )
    times = [row["placed_at"] for row in rows]
    assert len(times) == 200
    assert times == sorted(times)


async def test_place_order_again_is_told_as_it_is_by_then(shop: Shop, other: Client) -> None:
    offer, token, key = await shop.offer(), shop.issuer.token(), "the-one/of:today?"
    placed = await shop.buy(offer, token=token, key=key)
    for api in (shop.api, other):
        again = await shop.buy(offer, token=token, key=key, api=api)
        assert (again.status, again.body) == (201, placed.body)
        assert again.headers["Location"] == placed.headers["Location"]
    await shop.api.call("POST", f"{placed.headers['Location']}/cancel", token=token)
    for api in (shop.api, other):
        again = await shop.buy(offer, token=token, key=key, api=api)
        assert (again.status, again.data["status"]) == (201, "cancelled")
        assert (again.data["id"], again.data["items"]) == (placed.data["id"], placed.data["items"])
    assert (await shop.ledger(offer))["remaining"] == 10


async def test_place_order_under_a_key_that_was_refused_before(shop: Shop) -> None:
    """A refusal keeps nothing: the same key may order later, and something else."""
    early, open_now = await shop.offer(opens_in_s=60), await shop.offer()
    token, key = shop.issuer.token(), str(uuid4())
    assert (await shop.buy(early, token=token, key=key)).status == 425
    assert (await shop.buy(open_now, token=token, key=key)).status == 201


async def test_place_order_beside_one_that_cannot_be_stored(
    here: Orders, shop: Shop, db: asyncpg.Connection
) -> None:
    """511 of a batch of 512 succeed, as if the one had never come."""
    await db.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'poison'; END $$;
           CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.key = 'poison')
             EXECUTE FUNCTION refuse()"""
    )
    offer = await shop.offer(stock=1_000)
    keys = [str(n) if n != 100 else "poison" for n in range(512)]
    merged = here.merged(place_orders)
    answers = await asyncio.gather(
        *(merged(Asked(uuid4(), key, b"", (Item(offer, 1),))) for key in keys),
        return_exceptions=True,
    )
    [poison] = [answer for answer in answers if not isinstance(answer, OrderOut)]
    assert isinstance(poison, asyncpg.RaiseError)
    placed = [answer for answer in answers if isinstance(answer, OrderOut)]
    assert [one.key for one in placed] == [key for key in keys if key != "poison"]
    assert [one.items[0].place for one in placed] == list(range(1, 512))
    assert (await shop.ledger(offer))["held"] == 511


async def test_place_order_while_the_offer_is_locked_keeps_nobody_waiting_in_turn(
    here: Orders, shop: Shop, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty come while the lock is not to be had for two seconds: all are told so when the first is."""
    offer = await shop.offer(stock=100)
    monkeypatch.undo()
    async with Orders.open(here.settings, here.options) as impatient, db.transaction():
        merged = impatient.merged(place_orders)
        await db.execute("SELECT 1 FROM offers WHERE id = $1 FOR UPDATE", offer)
        began = perf_counter()
        answers = await asyncio.gather(
            *(merged(Asked(uuid4(), "key", b"", (Item(offer, 1),))) for _ in range(50))
        )
    assert {type(answer) for answer in answers} == {DatabaseBusyError}
    assert perf_counter() - began < 50
    assert (await shop.ledger(offer))["held"] == 0


STATEMENTS = """SELECT coalesce(sum(calls), 0)::bigint FROM public.pg_stat_statements s
    JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()"""


async def test_place_order_of_what_is_sold_out_asks_no_database(
    shop: Shop, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "HOLDS_S", 60)
    monkeypatch.setattr(offers, "ASK_FIRST_S", 60)
    await db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    offer, token, key = await shop.offer(stock=10), shop.issuer.token(), str(uuid4())
    bought = await shop.buy(offer, token=token, key=key)
    await asyncio.gather(*(shop.buy(offer) for _ in range(20)))
    before, own = await db.fetchval(STATEMENTS), await db.fetchval(STATEMENTS)
    refused = await asyncio.gather(*(shop.buy(offer) for _ in range(50)))
    after = await db.fetchval(STATEMENTS)
    assert {answer.body["type"] for answer in refused} == {"/problems/sold-out"}
    assert after - own == own - before  # counting is itself a statement
    # Whoever has one is not turned away with the others.
    again = await shop.buy(offer, token=token, key=key)
    assert (again.status, again.body) == (201, bought.body)
    limited = await shop.buy(offer, token=token)
    assert limited.body["type"] == "/problems/limit-reached"


async def test_place_order_gets_what_came_back_in_a_quarter_of_a_second(
    shop: Shop, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = monotonic()
    for module in (actions, cache):
        monkeypatch.setattr(module, "monotonic", lambda: now)
    offer, token = await shop.offer(stock=1), shop.issuer.token()
    bought = await shop.buy(offer, token=token)
    for api in (shop.api, other):
        assert (await shop.buy(offer, api=api)).status == 409
    await other.call("POST", f"{bought.headers['Location']}/cancel", token=token)
    assert (await shop.buy(offer)).status == 409
    now += 0.25
    assert (await shop.buy(offer)).status == 201


def order_of(customer: UUID, *offers: UUID) -> Asked:
    return Asked(customer, "key", b"", tuple(Item(offer, 1) for offer in offers))


def test_what_is_sold_out_is_known_with_all_its_buyers_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "HOLDS_S", 60)
    monkeypatch.setattr(cache, "MOST_BUYERS", 6)
    sold_out, now = SoldOut(), monotonic()
    one, two, three, stranger, *buyers = (uuid4() for _ in range(10))
    sold_out.note(one, after=0, places=2, buyers=buyers[:2], seen_at=now)
    assert sold_out.covers(order_of(stranger, two, one))
    assert not sold_out.covers(order_of(buyers[0], one))
    sold_out.note(one, after=2, places=3, buyers=[buyers[2]], seen_at=now)
    assert not sold_out.covers(order_of(buyers[0], one))
    assert not sold_out.covers(order_of(buyers[2], one))
    sold_out.note(two, after=0, places=4, buyers=buyers[:4], seen_at=now)
    assert (sold_out.places(one), sold_out.places(two)) == (0, 4)  # for both there is no room
    assert not sold_out.covers(order_of(stranger, one))
    sold_out.note(one, after=3, places=4, buyers=[buyers[3]], seen_at=now)
    assert not sold_out.covers(order_of(buyers[0], one))
    sold_out.note(three, after=0, places=7, buyers=[uuid4() for _ in range(7)], seen_at=now)
    assert [sold_out.places(each) for each in (one, two, three)] == [0, 0, 0]


def item(**changed: Any) -> dict[str, Any]:
    return {"offer_id": str(OFFER), "quantity": 1, **changed}


def body(*items: Any, **more: Any) -> bytes:
    return json.dumps({"items": items, **more}).encode()


OFFER = UUID("0199a8f1-02d7-7e10-8b35-c4d2a9e6f001")
FITS = body(item())
KEY = "Idempotency-Key"
BODIES = {
    "a negative quantity": (422, body(item(quantity=-1))),
    "none of it": (422, body(item(quantity=0))),
    "too many": (422, body(item(quantity=1_001))),
    "more than any number type holds": (422, body(item(quantity=10**30))),
    "a number too long to read": (422, FITS.replace(b": 1}", b": " + b"9" * 5_000 + b"}")),
    "a fraction": (422, body(item(quantity=1.5))),
    "not a number": (400, FITS.replace(b": 1}", b": NaN}")),
    "a number as text": (422, body(item(quantity="1"))),
    "true": (422, body(item(quantity=True))),
    "no offer": (422, body({"quantity": 1})),
    "not an id": (422, body(item(offer_id="mug"))),
    "an unknown field": (422, body(item(price_krw=0))),
    "an unknown field beside": (422, body(item(), total_krw=0)),
    "no items": (422, body()),
    "one offer twice": (422, body(item(), item())),
    "too many items": (422, body(*(item(offer_id=str(uuid4())) for _ in range(21)))),
    "no object": (422, b"[]"),
    "null": (422, b"null"),
    "nothing": (400, b""),
    "half": (400, FITS[:-1]),
    "not UTF-8": (400, b"\xff\xfe\xfd"),
    "deep": (422, b"[" * 60_000),
    "deep inside": (422, b'{"items": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
    "10 MB": (413, FITS.ljust(10 * 1024 * 1024)),
}
HEADERS: dict[str, dict[str, list[str]]] = {
    "no key": {KEY: []},
    "an empty key": {KEY: [""]},
    "a key too long": {KEY: ["k" * 256]},
    "a key with a space": {KEY: ["one two"]},
    "a key beyond ASCII": {KEY: ["schlüssel"]},
    "two keys": {KEY: ["one", "two"]},
    "one key twice": {KEY: ["one", "one"]},
    "no content type": {"Content-Type": []},
    "a form": {"Content-Type": ["application/x-www-form-urlencoded"]},
    "text": {"Content-Type": ["text/plain"]},
}
USUAL = {KEY: ["one"], "Content-Type": ["application/json; charset=utf-8"]}
TRACES = """
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items),
  (SELECT count(*) FROM outbox), (SELECT sum(changes) FROM offers)
"""


async def post(shop: Shop, sent: bytes, headers: Mapping[str, list[str]]) -> tuple[int, Any]:
    pairs = [(name, value) for name, values in {**USUAL, **headers}.items() for value in values]
    async with shop.api.http.post(
        f"{shop.api.url}/api/v1/orders",
        data=BytesIO(sent),
        headers=CIMultiDict(pairs),
        skip_auto_headers=["Content-Type"],
    ) as answer:
        return answer.status, await answer.json(content_type="application/problem+json")


async def test_place_order_refuses_what_is_odd_and_leaves_no_trace(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer(stock=10_000, per_customer=None)
    await db.execute("UPDATE offers SET id = $1 WHERE id = $2", OFFER, offer)
    before = await db.fetchrow(TRACES)
    signed_in = {"Authorization": [f"Bearer {shop.issuer.token()}"]}
    refused = {odd: (await post(shop, sent, signed_in))[0] for odd, (_, sent) in BODIES.items()}
    assert refused == {odd: status for odd, (status, _) in BODIES.items()}
    for odd, headers in HEADERS.items():
        status, problem = await post(shop, FITS, {**signed_in, **headers})
        assert (status, problem["type"]) == (422, "/problems/invalid"), odd
        assert [error["field"] for error in problem["errors"]] == list(headers)
    assert await db.fetchrow(TRACES) == before
    assert (await shop.buy(OFFER)).status == 201


async def test_place_order_lets_nobody_in_without_a_token_of_ours(
    shop: Shop, db: asyncpg.Connection
) -> None:
    before = await db.fetchrow(TRACES)
    with issuing() as stranger:
        tokens = {
            "none": "",
            "nonsense": "abc.def.ghi",
            "too long": "a" * 10_000,
            "another issuer's": stranger.token(),
            "for another audience": shop.issuer.token(audience="elsewhere"),
            "expired": shop.issuer.token(lives_s=-1),
            "changed": shop.issuer.token()[:-4] + "AAAA",
        }
        headers = {
            what: {"Authorization": [f"Bearer {token}"]} if token else {}
            for what, token in tokens.items()
        }
        headers["another scheme"] = {"Authorization": [f"Basic {shop.issuer.token()}"]}
        for what, authorization in headers.items():
            status, problem = await post(shop, FITS, authorization)
            assert (status, problem["type"]) == (401, "/problems/unauthenticated"), what
    assert await db.fetchrow(TRACES) == before


async def test_place_order_is_counted_by_what_became_of_it(shop: Shop) -> None:
    before = {outcome: decided.of(outcome).value for outcome in ("placed", "sold-out")}
    offer = await shop.offer(stock=2)
    await asyncio.gather(*(shop.buy(offer) for _ in range(5)))
    await shop.buy(offer)  # from memory
    after = {outcome: decided.of(outcome).value - before[outcome] for outcome in before}
    assert after == {"placed": 2, "sold-out": 4}
