"""A sale can be checked by anyone: receipts, the winners in their order, and the ledger."""

import asyncio
import json
from base64 import urlsafe_b64decode
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from holdfast.apps.orders.main import service
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.settings import Settings
from holdfast.core.tests.serving import Answer, Client, served
from holdfast.core.web import build
from holdfast.core.wire import cursor_of

KEYS = "/.well-known/receipt-keys.json"


async def receipt_of(api: Client, placed: Answer, token: str) -> str:
    answer = await api.call("GET", f"{placed.headers['Location']}/receipt", token=token)
    assert answer.status == 200, answer.body
    assert set(answer.data) == {"receipt"}
    receipt: str = answer.data["receipt"]
    return receipt


async def public_key(api: Client) -> Ed25519PublicKey:
    """As somebody takes it who has nothing but the address and a library for signatures."""
    (key,) = (await api.call("GET", KEYS)).body["keys"]
    return Ed25519PublicKey.from_public_bytes(decoded(key["x"]))


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parts(receipt: str) -> tuple[bytes, bytes]:
    """What is signed, and the signature."""
    signed, _, signature = receipt.rpartition(".")
    return signed.encode(), decoded(signature)


async def test_show_receipt_says_the_places(shop: Shop) -> None:
    offers = [await shop.offer(per_customer=None), await shop.offer()]
    await shop.buy(offers[0])
    token = shop.issuer.token()
    placed = await shop.buy(*offers, token=token)
    receipt = await receipt_of(shop.api, placed, token)
    keys = KeySet.import_key_set((await shop.api.call("GET", KEYS)).body)
    opened = jws.deserialize_compact(receipt, keys, algorithms=["Ed25519"])
    assert opened.headers()["typ"] == "receipt+jwt"
    assert json.loads(opened.payload or b"") == {
        "iss": shop.issuer.url,
        "order_id": placed.data["id"],
        "placed_at": placed.data["placed_at"],
        "items": [
            {"offer_id": str(offers[0]), "place": 2, "quantity": 1},
            {"offer_id": str(offers[1]), "place": 1, "quantity": 1},
        ],
    }
    signed, signature = parts(receipt)
    (await public_key(shop.api)).verify(signature, signed)


async def test_show_receipt_altered_by_any_bit_is_no_receipt(shop: Shop) -> None:
    token = shop.issuer.token()
    receipt = await receipt_of(shop.api, await shop.buy(await shop.offer(), token=token), token)
    key = await public_key(shop.api)
    signed, signature = parts(receipt)
    key.verify(signature, signed)
    whole = signed + signature
    for bit in range(8 * len(whole)):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidSignature):
            key.verify(bytes(altered[len(signed) :]), bytes(altered[: len(signed)]))


async def test_show_receipt_of_another_house_is_no_receipt_here(shop: Shop) -> None:
    token = shop.issuer.token()
    receipt = await receipt_of(shop.api, await shop.buy(await shop.offer(), token=token), token)
    header, payload, _ = receipt.split(".")
    forger = OKPKey.generate_key("Ed25519")
    known = jws.extract_compact(receipt.encode())
    forged = jws.serialize_compact(
        known.headers(), decoded(payload), forger, algorithms=["Ed25519"]
    )
    unsigned = f"{header}.{payload}."
    keys = KeySet.import_key_set((await shop.api.call("GET", KEYS)).body)
    for each in (forged, unsigned):
        with pytest.raises(JoseError):
            jws.deserialize_compact(each, keys, algorithms=["Ed25519"])


async def test_show_receipt_is_the_same_each_time_whatever_becomes_of_the_order(
    shop: Shop, other: Client, db: asyncpg.Connection
) -> None:
    token = shop.issuer.token()
    placed = await shop.buy(await shop.offer(), token=token)
    first = await receipt_of(shop.api, placed, token)
    for status in ("paid", "refunded", "cancelled", "expired"):
        await db.execute("UPDATE orders SET status = $1, changed_at = now()", status)
        assert await receipt_of(other, placed, token) == first


async def test_show_receipt_of_somebody_else_is_not_there(shop: Shop) -> None:
    placed = await shop.buy(await shop.offer())
    path = f"{placed.headers['Location']}/receipt"
    refused = await shop.api.call("GET", path, token=shop.issuer.token())
    assert (refused.status, refused.body["type"]) == (404, "/problems/no-such-order")
    assert (await shop.api.call("GET", path)).status == 401


async def test_show_receipt_opens_no_door(shop: Shop) -> None:
    token = shop.issuer.token()
    placed = await shop.buy(await shop.offer(), token=token)
    receipt = await receipt_of(shop.api, placed, token)
    refused = await shop.api.call("GET", placed.headers["Location"], token=receipt)
    assert refused.status == 401


async def test_list_receipt_keys_is_public_and_holds_nothing_private(shop: Shop) -> None:
    answer = await shop.api.call("GET", KEYS)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/jwk-set+json"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    (key,) = answer.body["keys"]
    assert set(key) == {"kty", "crv", "x", "alg", "use", "kid"}
    assert key["kid"] == OKPKey.import_key(key).thumbprint()


async def test_list_receipt_keys_depends_on_the_secret_alone(
    shop: Shop, other: Client, environ: dict[str, str], options: Options
) -> None:
    ours = (await shop.api.call("GET", KEYS)).body
    assert (await other.call("GET", KEYS)).body == ours
    foreign = Settings.load(
        environ | {"HOLDFAST_SECRET": "another secret, and long enough as well"}
    )
    async with served(build(foreign, service(foreign, options))) as url, Client.at(url) as client:
        theirs = (await client.call("GET", KEYS)).body
    assert theirs["keys"][0]["kid"] != ours["keys"][0]["kid"]
    assert theirs["keys"][0]["x"] != ours["keys"][0]["x"]


async def winners(api: Client, offer: UUID, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        asked = f"/api/v1/offers/{offer}/winners?limit={limit}{cursor}"
        answer = await api.call("GET", asked)
        assert answer.status == 200, answer.body
        found += answer.data
        if answer.body["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.body['next_cursor']}"


async def test_list_winners_in_order_and_without_gaps(shop: Shop, other: Client) -> None:
    offer = await shop.offer(stock=30)
    bought = await asyncio.gather(
        *(shop.buy(offer, api=api) for _ in range(20) for api in (shop.api, other))
    )
    won = {one.data["items"][0]["place"]: one.data for one in bought if one.status == 201}
    expected = [
        {
            "place": place,
            "order_id": won[place]["id"],
            "quantity": 1,
            "placed_at": won[place]["placed_at"],
            "holds": True,
        }
        for place in range(1, 31)
    ]
    for limit in (7, 30, 100):
        assert await winners(shop.api, offer, limit) == expected


async def test_list_winners_says_whose_units_were_given_back(
    shop: Shop, db: asyncpg.Connection
) -> None:
    offer = await shop.offer()
    states = ("reserved", "paid", "cancelled", "expired", "refunded")
    for status in states:
        placed = await shop.buy(offer)
        await db.execute(
            "UPDATE orders SET status = $2 WHERE id = $1", UUID(placed.data["id"]), status
        )
    found = await winners(shop.api, offer, 100)
    assert [winner["holds"] for winner in found] == [True, True, False, False, False]
    assert [winner["place"] for winner in found] == [1, 2, 3, 4, 5]


async def test_list_winners_of_an_offer_that_nobody_bought(shop: Shop) -> None:
    assert await winners(shop.api, await shop.offer(), 10) == []
    unknown = await shop.api.call("GET", f"/api/v1/offers/{uuid4()}/winners")
    assert (unknown.status, unknown.body["type"]) == (404, "/problems/unknown-offer")


@pytest.mark.parametrize(
    "cursor",
    [*("invented", "A" * 201), *map(cursor_of, (0, -1, 2**63, True, 1.5, "1", [1, "an id"]))],
)
async def test_list_winners_refuses_cursors_that_it_never_gave(shop: Shop, cursor: str) -> None:
    offer = await shop.offer()
    refused = await shop.api.call("GET", f"/api/v1/offers/{offer}/winners?cursor={cursor}")
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "cursor")


async def test_show_ledger_tells_where_the_stock_is(shop: Shop, db: asyncpg.Connection) -> None:
    offer = await shop.offer(stock=10, per_customer=None)
    await shop.buy(offer, quantity=3)
    await shop.buy(offer, quantity=2)
    await db.execute("UPDATE offers SET held = 3, sold = 2")
    answer = await shop.api.call("GET", f"/api/v1/offers/{offer}/ledger")
    as_of = answer.data.pop("as_of")
    assert as_of.endswith("Z")
    assert answer.data == {"initial": 10, "remaining": 5, "held": 3, "sold": 2, "places": 2}


async def test_show_ledger_is_right_at_every_moment_of_a_sale(shop: Shop, other: Client) -> None:
    offer = await shop.offer(stock=50)
    path = f"/api/v1/offers/{offer}/ledger"
    sale = asyncio.gather(
        *(shop.buy(offer, api=api) for _ in range(50) for api in (shop.api, other))
    )
    seen = []
    while not sale.done():
        seen.append((await other.call("GET", path)).data)
    await sale
    seen.append((await shop.api.call("GET", path)).data)
    for ledger in seen:
        assert ledger["initial"] == ledger["remaining"] + ledger["held"] + ledger["sold"] == 50
        assert ledger["places"] == ledger["held"]
    assert (seen[-1]["remaining"], seen[-1]["places"]) == (0, 50)
    assert [ledger["as_of"] for ledger in seen] == sorted(ledger["as_of"] for ledger in seen)


async def test_show_ledger_of_what_is_not_sold_here(shop: Shop) -> None:
    unknown = await shop.api.call("GET", f"/api/v1/offers/{uuid4()}/ledger")
    assert (unknown.status, unknown.body["type"]) == (404, "/problems/unknown-offer")
    assert (await shop.api.call("GET", "/api/v1/offers/first/ledger")).status == 422
