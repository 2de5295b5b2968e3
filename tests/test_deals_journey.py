"""A sale from beginning to end, in a house that began empty: every service and every process is real."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from holdfast.apps.identity.tests.api import Account, Api
from tests.sale import answered, make_deal, make_editor, order
from tests.test_up import Up, up

SHORTLY_S = 30
OPENS_IN = timedelta(seconds=8)  # within them the sale must be seen to be closed
WRITERS = 16


@pytest.fixture(scope="module", name="house")
def running_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("deals") / "data", "--workers=2") as started:
        yield started


@pytest.fixture
async def api(house: Up) -> AsyncIterator[Api]:
    async with Api.at(house.url) as client:
        yield client


@pytest.fixture
async def admin(api: Api, house: Up) -> Account:
    return await api.sign_in(*house.account("Admin"))


@pytest.fixture
async def editor(api: Api, admin: Account) -> str:
    return await make_editor(api, admin)


async def until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(SHORTLY_S):
        while not await true():
            await asyncio.sleep(0.05)


async def get(api: Api, path: str, customer: Account | None = None) -> Any:
    answer = await api.call("GET", path, token=customer.access if customer else None)
    assert answer.status == 200, answer.body
    return answer.body


async def data(api: Api, path: str, customer: Account | None = None) -> Any:
    return (await get(api, path, customer))["data"]


async def do(api: Api, path: str, customer: Account, body: Any = None) -> Any:
    """What must succeed; what it answers."""
    answer = await api.call("POST", path, body, token=customer.access)
    assert answer.status in {200, 201}, answer.body
    return answer.data


async def is_listed(api: Api, deals: str, deal_id: str) -> bool:
    return deal_id in {deal["id"] for deal in await data(api, f"{deals}?limit=100")}


async def test_a_sale_in_which_nobody_is_wronged(api: Api, house: Up, editor: str) -> None:
    """One cup, two who want it: the first pays, thinks better of it, and the second has it."""
    ada, ben = await api.sign_up(), await api.sign_up()
    opens_at = datetime.now(UTC) + OPENS_IN
    deal_id = await make_deal(api, editor, quota=1, per_customer=1, opens_at=opens_at)
    assert await is_listed(api, "/api/v1/products/deals/upcoming", deal_id)
    early = await answered(partial(order, api, ada.access, deal_id, "too-early"))
    assert early.status == 425
    await until(lambda: is_listed(api, "/api/v1/products/deals", deal_id))
    assert datetime.now(UTC) >= opens_at - timedelta(milliseconds=100)

    bought = await order(api, ada.access, deal_id, "a-cup")
    assert bought.status == 201
    ordered = bought.data
    assert ordered["items"][0] | {"place": 1, "unit_price_krw": 9_900} == ordered["items"][0]
    assert (await order(api, ada.access, deal_id, "a-cup")).body == bought.body
    late = await order(api, ben.access, deal_id, "a-cup")  # everybody has keys of their own
    assert (late.status, late.body["type"]) == (409, "/problems/sold-out")
    await until(lambda: _is_shown(api, deal_id, {"remaining": 0, "held": 1, "sold": 0}))
    assert (await do(api, f"/api/v1/offers/{deal_id}/waiting", ben))["position"] == 1

    paid = await do(api, f"/api/v1/orders/{ordered['id']}/pay", ada, {"method": "card-approved"})
    assert paid["status"] == "paid"
    assert await data(api, "/api/v1/orders", ada) == [paid]
    assert await _ledger(api, deal_id) == (1, 0, 0, 1)
    await _check_receipt(api, house, ada, ordered["id"], deal_id)

    refunded = await do(api, f"/api/v1/orders/{ordered['id']}/refund", ada)
    assert refunded["status"] == "refunded"
    await until(lambda: data(api, "/api/v1/orders", ben))
    (served,) = await data(api, "/api/v1/orders", ben)
    assert (served["status"], served["items"][0]["place"]) == ("reserved", 2)
    await do(api, f"/api/v1/orders/{served['id']}/pay", ben, {"method": "card-approved"})
    assert await _ledger(api, deal_id) == (1, 0, 0, 1)
    winners = await data(api, f"/api/v1/offers/{deal_id}/winners")
    assert [(one["place"], one["order_id"], one["holds"]) for one in winners] == [
        (1, ordered["id"], False),
        (2, served["id"], True),
    ]
    await _check_receipt(api, house, ada, ordered["id"], deal_id)  # it says what stays true


async def _is_shown(api: Api, deal_id: str, stock: dict[str, int]) -> bool:
    """Whether the catalog has heard of it."""
    return bool(await data(api, f"/api/v1/offers/{deal_id}/stock") == stock)


async def _ledger(api: Api, deal_id: str) -> tuple[int, int, int, int]:
    told = await data(api, f"/api/v1/offers/{deal_id}/ledger")
    return told["initial"], told["remaining"], told["held"], told["sold"]


async def _check_receipt(
    api: Api, house: Up, customer: Account, order_id: str, deal_id: str
) -> None:
    """As a stranger would: with the published keys, and against the public list of winners."""
    receipt = (await data(api, f"/api/v1/orders/{order_id}/receipt", customer))["receipt"]
    keys = KeySet.import_key_set(await get(api, "/.well-known/receipt-keys.json"))
    claims = json.loads(jws.deserialize_compact(receipt, keys, algorithms=["Ed25519"]).payload)
    assert (claims["iss"], claims["order_id"]) == (house.url, order_id)
    winners = await data(api, f"/api/v1/offers/{deal_id}/winners")
    placed = {one["place"]: (one["order_id"], one["placed_at"]) for one in winners}
    (item,) = claims["items"]
    assert item["offer_id"] == deal_id
    assert placed[item["place"]] == (order_id, claims["placed_at"])
    head, body, signature = receipt.split(".")
    forged = ".".join([head, body[:-2] + ("AA" if body[-2:] != "AA" else "BB"), signature])
    with pytest.raises(BadSignatureError):
        jws.deserialize_compact(forged, keys, algorithms=["Ed25519"])


async def test_who_may_write_the_catalog_is_asked_at_each_request(
    api: Api, house: Up, admin: Account, editor: str
) -> None:
    """On both workers: so many at once come to each of them."""
    product = {"name": "Oak board", "category": "kitchen", "price_krw": 31_000, "stock": 5}

    async def write(token: str) -> set[int]:
        ask = partial(api.call, "POST", "/api/v1/products", product, token=token)
        asked = (answered(ask) for _ in range(WRITERS))
        return {answer.status for answer in await asyncio.gather(*asked)}

    clerk = await api.sign_up()
    clerk_id = (await api.me(clerk)).data["id"]
    role = {"name": "shop", "description": "", "permissions": ["catalog:write"]}
    await do(api, "/api/v1/admin/roles", admin, role)
    given = f"/api/v1/admin/users/{clerk_id}/roles/shop"
    assert await write(clerk.access) == {403}
    assert (await api.call("PUT", given, token=editor)).status == 204
    assert await write(clerk.access) == {201}
    assert (await api.call("DELETE", given, token=editor)).status == 204
    assert await write(clerk.access) == {403}

    elsewhere = await api.sign_in(*house.account("Admin"))
    assert await write(elsewhere.access) == {201}
    assert (await api.call("POST", "/api/v1/auth/logout", token=elsewhere.access)).status == 204
    assert await write(elsewhere.access) == {401}
    assert await write(editor) == {201}  # another session of the same person


async def rush(*words: str, **environ: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "deals", "rush", *words),
        env=environ,
        stdout=PIPE,
        stderr=PIPE,
    )
    told, steps = await process.communicate()
    return process.returncode, told.decode(), steps.decode()


async def test_a_rush_is_held_in_a_running_house(house: Up) -> None:
    status, told, steps = await rush("--buyers=20", "--stock=4", "--url", house.url)
    assert status == 0, steps
    assert told.startswith("PROOF ok: 4 of 20 buyers won, places 1-4, ledger 4 = 0 + 4 + 0, ")


async def test_a_rush_by_somebody_else_is_refused_and_tells_no_password(house: Up) -> None:
    email, password = house.account("User")
    words = ["--buyers=1", "--url", house.url, "--admin-email", email]
    status, told, steps = await rush(*words, HOLDFAST_ADMIN_PASSWORD=password)
    assert (status, told) == (1, "")
    assert "Error: " in steps
    assert "roles:write" in steps
    status, told, steps = await rush(*words, HOLDFAST_ADMIN_PASSWORD="not the one")
    assert (status, told) == (1, "")
    assert f"{email} cannot sign in" in steps
    assert "not the one" not in steps


async def test_a_rush_says_that_limits_are_in_its_way(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with up(tmp_path_factory.mktemp("limited") / "data", HOLDFAST_LIMITS="on") as limited:
        status, told, steps = await rush("--buyers=30", "--url", limited.url)
    assert (status, told) == (1, "")
    assert "Start it with HOLDFAST_LIMITS=off." in steps
