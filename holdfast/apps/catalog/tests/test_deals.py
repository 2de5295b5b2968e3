"""Deals are made, changed and withdrawn, by editors only and by the database's clock."""

import asyncio
from typing import Any

import pytest

from holdfast.apps.catalog.tests.desk import DEALS, NOBODY, OFFERS, PRODUCTS, Desk, moment
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import Client

YEAR_S = 366 * 86_400
BAD_TERMS: list[dict[str, Any]] = [
    {"price_krw": -1},
    {"price_krw": 10**12 + 1},
    {"price_krw": 0.5},
    {"price_krw": None},
    {"quota": 0},
    {"quota": -5},
    {"quota": 1_000_000_001},
    {"quota": 10**30},
    {"quota": "100"},
    {"per_customer": 0},
    {"per_customer": 1_000_001},
    {"per_customer": False},
    {"admit_per_s": 0},
    {"admit_per_s": 10_001},
    {"admit_per_s": "20"},
    {"admit_per_s": 0.5},
    {"opens_at": 1_900_000_000},
    {"opens_at": "1900000000"},
    {"opens_at": "2027-03-01"},
    {"opens_at": "2027-03-01T09:30:00"},
    {"opens_at": "0001-01-01T00:00:00+23:59"},
    {"opens_at": "1999-12-31T23:59:59Z"},
    {"opens_at": "tomorrow at 9:30"},
    {"opens_at": "nul\0:"},
    {"opens_at": None},
    {"closes_at": "9999-12-31T23:59:59-23:59"},
    {"closes_at": [":"]},
    {"name": "Blue mug"},
]
BAD_WINDOWS = {
    "opens when it closes": (60, 60),
    "opens after it closes": (120, 60),
    "closed already": (-120, -60),
    "longer than a year": (0, YEAR_S + 60),
}


async def test_create_deal_is_shown_by_every_worker(desk: Desk, other: Client) -> None:
    product = await desk.product()
    terms = desk.terms(product["id"], opens_in_s=60, per_customer=1, admit_per_s=20)
    made = await desk.ask("POST", DEALS, terms)
    assert made.status == 201
    assert (made.data["name"], made.data["usual_price_krw"]) == (product["name"], 12_900)
    for name in ("product_id", "price_krw", "quota", "per_customer", "admit_per_s"):
        assert made.data[name] == terms[name]
    assert made.data["withdrawn_at"] is None
    shown = await other.call("GET", f"{DEALS}/{made.data['id']}")
    assert (shown.status, shown.body) == (200, made.body)
    assert await desk.events("deal.created") == 1


async def test_create_deal_refuses_bad_terms_and_leaves_no_trace(desk: Desk) -> None:
    product = await desk.product()
    for wrong in BAD_TERMS:
        answer = await desk.ask("POST", DEALS, desk.terms(product["id"]) | wrong)
        assert answer.status == 422, wrong
        assert [error["field"] for error in answer.body["errors"]] == list(wrong)
    assert await desk.db.fetchval("SELECT count(*) FROM deals") == 0
    assert await desk.events("deal.created") == 0


async def test_create_deal_refuses_windows_that_never_open(desk: Desk) -> None:
    product = await desk.product()
    for why, (opens_in_s, closes_in_s) in BAD_WINDOWS.items():
        terms = desk.terms(product["id"], opens_in_s=opens_in_s, closes_in_s=closes_in_s)
        answer = await desk.ask("POST", DEALS, terms)
        assert answer.status == 422, why
        assert [error["field"] for error in answer.body["errors"]] == ["closes_at"]
    assert await desk.db.fetchval("SELECT count(*) FROM deals") == 0


async def test_create_deal_accepts_the_bounds(desk: Desk) -> None:
    product = await desk.product()
    told = {"price_krw": 0, "quota": 1, "per_customer": 1_000_000, "admit_per_s": 10_000}
    deal = await desk.deal(product["id"], opens_in_s=0, closes_in_s=YEAR_S - 60, **told)
    assert deal | told == deal
    unlimited = await desk.deal(product["id"], quota=1_000_000_000, price_krw=10**12)
    assert unlimited["per_customer"] is None


async def test_create_deal_of_nothing(desk: Desk) -> None:
    assert (await desk.ask("POST", DEALS, desk.terms(NOBODY))).status == 404
    assert (await desk.ask("POST", DEALS, desk.terms("mug"))).status == 422


async def test_show_deal_that_there_is_not(desk: Desk) -> None:
    for name in (NOBODY, "mug", "%00"):
        answer = await desk.api.call("GET", f"{DEALS}/{name}")
        assert (answer.status, answer.body["type"]) == (404, "/problems/not-found")


async def test_show_deal_follows_its_product(desk: Desk, other: Client) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"])
    renamed = {"name": "Red mug", "price_krw": 15_000}
    assert (await desk.ask("PATCH", f"{PRODUCTS}/{product['id']}", renamed)).status == 200
    shown = (await other.call("GET", f"{DEALS}/{deal['id']}")).data
    assert shown == deal | {"name": "Red mug", "usual_price_krw": 15_000}


async def test_change_deal_changes_what_is_sent(desk: Desk, other: Client) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"], per_customer=1)
    path = f"{DEALS}/{deal['id']}"
    for sent in (
        *({"price_krw": 5}, {"quota": 7}, {"per_customer": None}, {"per_customer": 3}),
        *({"admit_per_s": 20}, {"admit_per_s": None}),
    ):
        changed = await desk.ask("PATCH", path, sent)
        assert changed.status == 200
        deal |= sent | {"changed_at": changed.data["changed_at"]}
        assert changed.data == deal
    assert (await other.call("GET", path)).data == deal
    assert await desk.events("deal.changed") == 6


async def test_change_deal_moves_its_window(desk: Desk) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"])
    path = f"{DEALS}/{deal['id']}"
    window = {"opens_at": "2127-03-01T18:30:00+09:00", "closes_at": "2127-03-01T09:40:00.5Z"}
    changed = (await desk.ask("PATCH", path, window)).data
    assert changed["opens_at"] == "2127-03-01T09:30:00Z"
    assert changed["closes_at"] == "2127-03-01T09:40:00.500000Z"


async def test_change_deal_refuses_bad_terms(desk: Desk) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"])
    for wrong in (*BAD_TERMS, {}, {"product_id": NOBODY}):
        answer = await desk.ask("PATCH", f"{DEALS}/{deal['id']}", wrong)
        assert answer.status == 422, wrong
    assert (await desk.ask("GET", f"{DEALS}/{deal['id']}")).data == deal


async def test_change_deal_refuses_windows_that_never_open(desk: Desk) -> None:
    """Half of a window is held to the other half, which is there already."""
    product = await desk.product()
    deal = await desk.deal(product["id"], opens_in_s=60, closes_in_s=120)
    for wrong in (
        {"opens_at": moment(180)},
        {"closes_at": moment(30)},
        {"closes_at": moment(YEAR_S + 180)},
        {"opens_at": moment(-120), "closes_at": moment(-60)},
    ):
        answer = await desk.ask("PATCH", f"{DEALS}/{deal['id']}", wrong)
        assert answer.status == 422, wrong
    assert (await desk.ask("GET", f"{DEALS}/{deal['id']}")).data == deal


async def test_change_deal_by_two_editors_keeps_both_changes(desk: Desk, other: Client) -> None:
    product = await desk.product()
    path = f"{DEALS}/{(await desk.deal(product['id']))['id']}"
    for n in range(1, 11):
        one, two = {"quota": n}, {"price_krw": n}
        answers = await asyncio.gather(
            desk.ask("PATCH", path, one), desk.ask("PATCH", path, two, api=other)
        )
        assert [answer.status for answer in answers] == [200, 200]
        shown = (await desk.ask("GET", path)).data
        assert shown | one | two == shown


async def test_change_deal_by_two_editors_never_turns_its_window_around(
    desk: Desk, other: Client
) -> None:
    """Each change is right alone; both together would close it before it opens."""
    product = await desk.product()
    for _ in range(5):
        deal = await desk.deal(product["id"], opens_in_s=60, closes_in_s=180)
        path = f"{DEALS}/{deal['id']}"
        answers = await asyncio.gather(
            desk.ask("PATCH", path, {"opens_at": moment(150)}),
            desk.ask("PATCH", path, {"closes_at": moment(90)}, api=other),
        )
        assert sorted(answer.status for answer in answers) == [200, 422]


@pytest.mark.parametrize("how", ["its time is over", "it was withdrawn"])
async def test_change_deal_that_is_over_is_refused(desk: Desk, how: str) -> None:
    product = await desk.product()
    path = f"{DEALS}/{(deal := await desk.deal(product['id']))['id']}"
    if how == "its time is over":
        await desk.end(deal["id"])
    else:
        assert (await desk.ask("DELETE", path)).status == 204
    before = (await desk.ask("GET", path)).data
    changed = await desk.ask("PATCH", path, {"closes_at": moment(7200)})
    assert (changed.status, changed.body["type"]) == (409, "/problems/deal-over")
    assert (await desk.ask("DELETE", path)).status == 409
    assert (await desk.ask("GET", path)).data == before


@pytest.mark.parametrize("opens_in_s", [-60, 60], ids=["open", "to come"])
async def test_withdraw_deal_ends_it_now_and_keeps_it_known(
    desk: Desk, other: Client, opens_in_s: float
) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"], opens_in_s=opens_in_s)
    path = f"{DEALS}/{deal['id']}"
    assert (await desk.ask("DELETE", path)).status == 204
    shown = (await other.call("GET", path)).data
    assert shown["withdrawn_at"] == shown["changed_at"] > deal["changed_at"]
    [offer] = (await other.call("GET", f"{OFFERS}?id={deal['id']}")).data
    assert max(offer["opens_at"], offer["closes_at"]) <= shown["withdrawn_at"]
    assert await desk.events("deal.withdrawn") == 1


async def test_withdraw_deal_twice_at_once_ends_it_once(desk: Desk, other: Client) -> None:
    product = await desk.product()
    path = f"{DEALS}/{(await desk.deal(product['id']))['id']}"
    answers = await asyncio.gather(*(desk.ask("DELETE", path, api=api) for api in (None, other)))
    assert sorted(answer.status for answer in answers) == [204, 409]
    assert await desk.events("deal.withdrawn") == 1


async def test_deals_that_there_are_not(desk: Desk) -> None:
    for method, body in [("PATCH", {"quota": 1}), ("DELETE", None)]:
        assert (await desk.ask(method, f"{DEALS}/{NOBODY}", body)).status == 404
        assert (await desk.ask(method, f"{DEALS}/mug", body)).status == 404


async def test_deals_are_closed_to_everybody_else(desk: Desk, issuer: Issuer) -> None:
    product = await desk.product()
    deal = await desk.deal(product["id"])
    path = f"{DEALS}/{deal['id']}"
    calls: list[tuple[str, str, Any]] = [
        ("POST", DEALS, desk.terms(product["id"])),
        ("PATCH", path, {"quota": 1}),
        ("DELETE", path, None),
    ]
    somebody = issuer.token(None, "catalog:read")
    for method, at, body in calls:
        assert (await desk.api.call(method, at, body)).status == 401, at
        assert (await desk.api.call(method, at, body, token=somebody)).status == 403, at
    assert (await desk.ask("GET", path)).data == deal
    assert await desk.db.fetchval("SELECT count(*) FROM deals") == 1
