"""Orders are paid once and paid back once, whatever is late, lost, asked twice or killed in between."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import schemathesis
from aiohttp import ClientOSError, ServerDisconnectedError
from schemathesis import Case

from holdfast.apps.orders.life.actions import end_orders, expire_orders
from holdfast.apps.orders.main import service
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.payments.actions import settle
from holdfast.apps.orders.payments.client import PaymentProvider
from holdfast.apps.orders.payments.jobs import settle_due, settle_for_ever
from holdfast.apps.orders.payments.schemas import NoAnswerError, ProviderAwayError, Told
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.shop import Shop
from holdfast.apps.orders.tests.till import Till, standing_in
from holdfast.cli.servers import free_port
from holdfast.core.manifest import find
from holdfast.core.settings import Settings, SettingsError
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import Client, served, worker
from holdfast.core.web import build

KEY = "stand-in"
EXTERNAL = find("orders").contract.parent / "external"


@pytest.fixture(scope="session")
def provider_url() -> Iterator[str]:
    with standing_in() as url:
        yield url


@pytest.fixture
def options(provider_url: str) -> Options:
    return Options(payment_url=provider_url)


@pytest.fixture
def till(shop: Shop, here: Orders) -> Till:
    return Till(shop, here)


@pytest.fixture
def token(issuer: Issuer) -> str:
    return issuer.token()


@asynccontextmanager
async def paying_at(url: str, settings: Settings) -> AsyncIterator[Client]:
    """A worker that asks another provider."""
    app = build(settings, service(settings, Options(payment_url=url)))
    async with served(app) as address, Client.at(address) as client:
        yield client


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until this is set, what the provider says of a charge is on its way."""
    heard, charge = asyncio.Event(), PaymentProvider.charge

    async def charge_and_wait(*asked: Any) -> Told:
        told = await charge(*asked)
        await heard.wait()
        return told

    monkeypatch.setattr(PaymentProvider, "charge", charge_and_wait)
    return heard


@asynccontextmanager
async def never_heard(url: str) -> AsyncIterator[str]:
    """An address at which the provider is asked, and what it answers is lost."""
    at = urlsplit(url)

    async def pass_on(asked: asyncio.StreamReader, asking: asyncio.StreamWriter) -> None:
        told, telling = await asyncio.open_connection(at.hostname, at.port)
        try:
            while part := await asked.read(65_536):
                telling.write(part)
            await told.read(1)  # or it would see that nobody listens, and do nothing
        finally:
            telling.close()
            asking.close()

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def expire(here: Orders, order_id: UUID) -> None:
    async with here.db.transaction() as db:
        assert await end_orders(db, [order_id], "expired", 600) == [order_id]


# -- Paid --


async def test_pay_order_sells_what_was_held(till: Till, token: str) -> None:
    offer = await till.shop.offer(stock=3)
    order = await till.order(offer, token)
    paid = await till.pay(order, token)
    assert (paid.status, paid.data["status"], paid.data["id"]) == (200, "paid", str(order))
    assert await till.shop.ledger(offer) == {"initial": 3, "remaining": 2, "held": 0, "sold": 1}
    assert await till.states(order) == await till.told(order) == ["approved"]
    [event] = await till.events("order.paid")
    assert json.loads(event)["order_id"] == str(order)
    stock = [json.loads(told) for told in await till.events("stock.changed")]
    assert stock[-1] == {
        "offer_id": str(offer),
        "remaining": 2,
        "held": 0,
        "sold": 1,
        "changes": await till.db.fetchval("SELECT changes FROM offers WHERE id = $1", offer),
    }


async def test_pay_order_pays_for_all_of_a_basket(till: Till, token: str) -> None:
    one, two = await till.shop.offer(price_krw=700), await till.shop.offer(per_customer=5)
    basket = await till.shop.buy(one, two, token=token)
    assert (await till.pay(UUID(basket.data["id"]), token)).status == 200
    assert [(await till.shop.ledger(offer))["sold"] for offer in (one, two)] == [1, 1]
    assert (await till.payment(UUID(basket.data["id"]), token)).data["amount_krw"] == 1_700


async def test_pay_order_that_is_paid_answers_it_again(till: Till, token: str) -> None:
    order = await till.order(await till.shop.offer(), token)
    first = await till.pay(order, token)
    again = await till.pay(order, token, "card-declined")
    assert (again.status, again.body) == (200, first.body)
    assert await till.states(order) == ["approved"]


async def test_pay_order_charges_a_double_click_once(till: Till, token: str, other: Client) -> None:
    offer = await till.shop.offer()
    order = await till.order(offer, token)
    answers = await asyncio.gather(
        *(till.pay(order, token, "card-slow", api) for _ in range(10) for api in (None, other))
    )
    assert {(answer.status, answer.data["status"]) for answer in answers} == {(200, "paid")}
    assert await till.states(order) == ["approved"]
    assert (await till.shop.ledger(offer))["sold"] == 1
    assert len(await till.events("order.paid")) == 1


async def test_pay_order_that_is_declined_can_be_tried_again(till: Till, token: str) -> None:
    offer = await till.shop.offer()
    order = await till.order(offer, token)
    declined = await till.pay(order, token, "card-declined")
    assert (declined.status, declined.body["type"]) == (402, "/problems/declined")
    assert await till.status(order) == "reserved"
    assert (await till.shop.ledger(offer))["held"] == 1
    assert (await till.pay(order, token)).status == 200
    assert await till.states(order) == await till.told(order) == ["declined", "approved"]


@pytest.mark.parametrize("ended", ["cancelled", "expired", "refunded"])
async def test_pay_order_that_has_ended_charges_nothing(till: Till, token: str, ended: str) -> None:
    order = await till.order(await till.shop.offer(), token)
    await till.db.execute("UPDATE orders SET status = $2 WHERE id = $1", order, ended)
    refused = await till.pay(order, token)
    assert (refused.status, refused.body["type"]) == (409, "/problems/order-ended")
    assert await till.states(order) == []


async def test_pay_order_after_its_time_charges_nothing(till: Till, token: str) -> None:
    order = await till.order(await till.shop.offer(), token)
    await till.db.execute("UPDATE orders SET held_until = now()")
    assert (await till.pay(order, token)).status == 409
    assert await till.states(order) == []


async def test_pay_order_of_somebody_else_is_not_found(
    till: Till, token: str, issuer: Issuer
) -> None:
    order = await till.order(await till.shop.offer(), token)
    stranger = issuer.token()
    for order_id in (order, uuid4()):
        assert (await till.pay(order_id, stranger)).status == 404
        assert (await till.refund(order_id, stranger)).status == 404
        assert (await till.payment(order_id, stranger)).status == 404
    assert await till.states(order) == []


@pytest.mark.parametrize("method", ["", "a b", "é", "x" * 201, None, 7])
async def test_pay_order_refuses_what_is_no_method(
    till: Till, token: str, method: str | int | None
) -> None:
    order = await till.order(await till.shop.offer(), token)
    path = f"/api/v1/orders/{order}/pay"
    assert (await till.shop.api.call("POST", path, {"method": method}, token=token)).status == 422
    assert (await till.shop.api.call("POST", path, {"method": method})).status == 401
    assert await till.states(order) == []


# -- Lost on the way --


async def test_pay_order_whose_answer_is_lost_is_settled_by_the_jobs(
    till: Till, token: str
) -> None:
    order = await till.order(await till.shop.offer(), token)
    unsure = await till.pay(order, token, "card-lost-answer")
    assert (unsure.status, unsure.data["status"]) == (202, "reserved")
    assert (await till.payment(order, token)).data["state"] == "asked"
    await till.db.execute("UPDATE payments SET next_try_at = now()")
    working = asyncio.create_task(
        settle_for_ever(till.here.db, till.here.payments, till.here.options.hold_s)
    )
    async with asyncio.timeout(30):
        while await till.status(order) != "paid":
            await asyncio.sleep(0.05)
    working.cancel()
    assert await till.states(order) == await till.told(order) == ["approved"]


async def test_pay_order_survives_a_worker_killed_before_it_heard(
    till: Till, token: str, environ: Mapping[str, str], provider_url: str
) -> None:
    order = await till.order(await till.shop.offer(), token)
    async with never_heard(provider_url) as provider:
        environ = {**environ, "HOLDFAST_ORDERS_PAYMENT_URL": provider}
        async with worker("orders", environ) as (url, process), Client.at(url) as doomed:
            paying = asyncio.create_task(till.pay(order, token, api=doomed))
            await till.until_charged(order)
            process.kill()
            with pytest.raises((ServerDisconnectedError, ClientOSError)):
                await paying
    assert (await till.status(order), await till.states(order)) == ("reserved", ["asked"])
    await till.settle_all()
    assert (await till.status(order), await till.states(order)) == ("paid", ["approved"])


async def test_pay_order_while_the_provider_is_away_is_closed_before_another_attempt(
    till: Till, token: str, settings: Settings
) -> None:
    order = await till.order(await till.shop.offer(), token)
    async with paying_at(f"http://127.0.0.1:{free_port()}", settings) as cut_off:
        refused = await till.pay(order, token, api=cut_off)
    assert (refused.status, refused.body["type"]) == (503, "/problems/provider-away")
    assert "Retry-After" in refused.headers
    assert (await till.status(order), await till.states(order)) == ("reserved", ["asked"])

    assert await till.settle() == 1
    undone = await till.pay(order, token)
    assert (undone.status, undone.body["type"]) == (503, "/problems/payment-undone")
    await till.settle_all()
    assert await till.states(order) == ["declined"]
    reference = await till.db.fetchval("SELECT id FROM payments")
    assert await till.here.payments.charge(reference, 1_000, "card-approved") == "declined"

    assert (await till.pay(order, token)).status == 200
    assert await till.states(order) == await till.told(order) == ["declined", "approved"]
    await settle(till.here.db, reference, order, "declined", 600)  # told by another job, very late
    assert await till.status(order) == "paid"


async def test_pay_order_again_goes_on_with_the_attempt_that_was_cut_off(
    till: Till, token: str, settings: Settings
) -> None:
    order = await till.order(await till.shop.offer(), token)
    async with paying_at(f"http://127.0.0.1:{free_port()}", settings) as cut_off:
        assert (await till.pay(order, token, api=cut_off)).status == 503
    assert (await till.pay(order, token)).status == 200
    assert await till.states(order) == ["approved"]


# -- Too late --


async def test_pay_order_in_time_counts_though_its_time_is_over_when_the_answer_comes(
    till: Till, token: str
) -> None:
    order = await till.order(await till.shop.offer(), token)
    assert (await till.pay(order, token, "card-lost-answer")).status == 202
    await till.db.execute("UPDATE orders SET held_until = now() - interval '1 s'")
    await till.settle_all()
    assert await till.status(order) == "paid"


async def test_pay_order_too_late_takes_what_is_left_at_the_old_place(
    till: Till, token: str, heard: asyncio.Event
) -> None:
    offer = await till.shop.offer(stock=2)
    order = await till.order(offer, token)
    paying = asyncio.create_task(till.pay(order, token))
    await till.until_charged(order)
    await expire(till.here, order)
    assert (await till.shop.buy(offer)).data["items"][0]["place"] == 2
    heard.set()
    paid = await paying
    assert (paid.status, paid.data["status"], paid.data["items"][0]["place"]) == (200, "paid", 1)
    assert await till.shop.ledger(offer) == {"initial": 2, "remaining": 0, "held": 1, "sold": 1}
    assert await till.told(order) == ["approved"]


async def test_pay_order_too_late_gives_the_money_back_when_nothing_is_left(
    till: Till, token: str, other: Client, heard: asyncio.Event
) -> None:
    offer = await till.shop.offer(stock=1)
    order = await till.order(offer, token)
    paying = asyncio.create_task(till.pay(order, token))
    await till.until_charged(order)
    await expire(till.here, order)
    assert (await till.shop.buy(offer, api=other)).status == 201
    heard.set()
    late = await paying
    assert (late.status, late.body["type"]) == (409, "/problems/paid-too-late")
    assert (await till.payment(order, token)).data["state"] == "refunding"
    await till.settle_all()
    assert await till.states(order) == await till.told(order) == ["refunded"]
    assert await till.status(order) == "expired"
    assert await till.shop.ledger(offer) == {"initial": 1, "remaining": 0, "held": 1, "sold": 0}


async def test_pay_order_too_late_keeps_to_what_one_customer_may_buy(
    till: Till, token: str
) -> None:
    offer = await till.shop.offer(stock=5, per_customer=1)
    order = await till.order(offer, token)
    assert (await till.pay(order, token, "card-lost-answer")).status == 202
    await expire(till.here, order)
    assert (await till.shop.buy(offer, token=token)).status == 201
    await till.settle_all()
    assert await till.told(order) == ["refunded"]
    assert await till.shop.ledger(offer) == {"initial": 5, "remaining": 4, "held": 1, "sold": 0}


async def test_pay_order_leaves_cancelled_what_was_cancelled_meanwhile(
    till: Till, token: str
) -> None:
    offer = await till.shop.offer()
    order = await till.order(offer, token)
    assert (await till.pay(order, token, "card-lost-answer")).status == 202
    path = f"/api/v1/orders/{order}/cancel"
    assert (await till.shop.api.call("POST", path, token=token)).status == 200
    await till.settle_all()
    assert (await till.status(order), await till.told(order)) == ("cancelled", ["refunded"])
    assert (await till.shop.ledger(offer))["remaining"] == 10


async def test_pay_order_has_one_outcome_whoever_is_first(till: Till, issuer: Issuer) -> None:
    """Answers, look-ups and sweepers for the same orders, and buyers for what returns."""
    offer = await till.shop.offer(stock=8)
    orders = {await till.order(offer, token): token for token in _tokens(issuer, 8)}
    for order, token in orders.items():
        assert (await till.pay(order, token, "card-lost-answer")).status == 202
    await till.db.execute("UPDATE orders SET held_until = now() - interval '1 s'")
    asked = await till.db.fetch("SELECT id, order_id FROM payments")

    db, hold_s = till.here.db, till.here.options.hold_s
    await asyncio.gather(
        *(expire_orders(db, hold_s) for _ in range(3)),
        *(
            settle(db, payment_id, order_id, "approved", hold_s)
            for payment_id, order_id in asked
            for _ in range(2)
        ),
        *(till.shop.buy(offer) for _ in range(6)),
    )
    await till.settle_all()
    for order in orders:
        [state], [told] = await till.states(order), await till.told(order)
        outcome = await till.status(order), state, told
        assert outcome in {("paid", "approved", "approved"), ("expired", "refunded", "refunded")}
    paid = [order for order in orders if await till.status(order) == "paid"]
    assert len(await till.events("order.paid")) == len(paid)
    assert (await till.shop.ledger(offer))["sold"] == len(paid)


async def test_pay_order_or_cancel_it_but_not_both(till: Till, issuer: Issuer) -> None:
    offer = await till.shop.offer(stock=8)
    for token in _tokens(issuer, 8):
        order = await till.order(offer, token)
        path = f"/api/v1/orders/{order}/cancel"
        paid, cancelled = await asyncio.gather(
            till.pay(order, token), till.shop.api.call("POST", path, token=token)
        )
        await till.settle_all()
        outcome = paid.status, cancelled.status, await till.status(order), await till.told(order)
        assert outcome in (
            (200, 409, "paid", ["approved"]),
            (409, 200, "cancelled", ["refunded"]),
            (409, 200, "cancelled", []),
        )


# -- Paid back --


async def test_refund_order_returns_money_and_stock(till: Till, token: str, other: Client) -> None:
    offer = await till.shop.offer(stock=1)
    order = await till.order(offer, token)
    assert (await till.pay(order, token)).status == 200
    refunded = await till.refund(order, token)
    assert (refunded.status, refunded.data["status"]) == (200, "refunded")
    assert await till.states(order) == await till.told(order) == ["refunded"]
    assert await till.shop.ledger(offer) == {"initial": 1, "remaining": 1, "held": 0, "sold": 0}
    assert (await till.pay(order, token)).status == 409
    assert (await till.shop.buy(offer, api=other)).status == 201


async def test_refund_order_twice_at_once_refunds_it_once(
    till: Till, token: str, other: Client
) -> None:
    offer = await till.shop.offer(stock=5)
    order = await till.order(offer, token)
    assert (await till.pay(order, token)).status == 200
    answers = await asyncio.gather(
        *(till.refund(order, token, api) for _ in range(5) for api in (None, other))
    )
    assert {(answer.status, answer.data["status"]) for answer in answers} == {(200, "refunded")}
    assert len(await till.events("order.refunded")) == 1
    assert (await till.shop.ledger(offer))["remaining"] == 5


async def test_refund_order_whose_answer_is_lost_is_settled_by_the_jobs(
    till: Till, token: str
) -> None:
    offer = await till.shop.offer(stock=5)
    order = await till.order(offer, token)
    assert (await till.pay(order, token, "card-lost-refund")).status == 200
    unsure = await till.refund(order, token)
    assert (unsure.status, unsure.data["status"]) == (202, "paid")
    assert await till.states(order) == ["refunding"]
    assert (await till.shop.ledger(offer))["sold"] == 1
    await till.settle_all()
    assert (await till.status(order), await till.states(order)) == ("refunded", ["refunded"])
    assert await till.shop.ledger(offer) == {"initial": 5, "remaining": 5, "held": 0, "sold": 0}


async def test_refund_order_while_the_provider_is_away_is_done_when_it_is_back(
    till: Till, token: str, settings: Settings
) -> None:
    order = await till.order(await till.shop.offer(), token)
    assert (await till.pay(order, token)).status == 200
    async with paying_at(f"http://127.0.0.1:{free_port()}", settings) as cut_off:
        assert (await till.refund(order, token, api=cut_off)).status == 202
    assert await till.told(order) == ["approved"]
    await till.settle_all()
    assert (await till.status(order), await till.told(order)) == ("refunded", ["refunded"])


async def test_refund_order_is_asked_for_again_ever_later_while_the_provider_is_away(
    till: Till, token: str, settings: Settings
) -> None:
    order = await till.order(await till.shop.offer(), token)
    assert (await till.pay(order, token)).status == 200
    gone = PaymentProvider(f"http://127.0.0.1:{free_port()}", KEY, till.here.http)
    async with paying_at(f"http://127.0.0.1:{free_port()}", settings) as cut_off:
        assert (await till.refund(order, token, api=cut_off)).status == 202
    waits_s = []
    for _ in range(8):
        await till.db.execute("UPDATE payments SET next_try_at = now()")
        assert await settle_due(till.here.db, gone, 600) == 1
        assert await settle_due(till.here.db, gone, 600) == 0
        wait_s = await till.db.fetchval(
            "SELECT extract(epoch FROM next_try_at - now()) FROM payments"
        )
        waits_s.append(round(wait_s, -1))
    assert waits_s == [10, 20, 40, 80, 160, 320, 320, 320]


async def test_refund_order_that_is_not_paid_is_refused(till: Till, token: str) -> None:
    order = await till.order(await till.shop.offer(), token)
    refused = await till.refund(order, token)
    assert (refused.status, refused.body["type"]) == (409, "/problems/not-paid")
    assert await till.status(order) == "reserved"


async def test_refund_order_again_answers_it_again(till: Till, token: str) -> None:
    order = await till.order(await till.shop.offer(), token)
    await till.pay(order, token)
    first, again = await till.refund(order, token), await till.refund(order, token)
    assert (again.status, again.body) == (200, first.body)


# -- Shown --


async def test_show_payment_tells_of_the_latest(till: Till, token: str) -> None:
    order = await till.order(await till.shop.offer(price_krw=12_900), token)
    none = await till.payment(order, token)
    assert (none.status, none.body["type"]) == (404, "/problems/not-paid-yet")
    await till.pay(order, token, "card-declined")
    await till.pay(order, token)
    shown = (await till.payment(order, token)).data
    assert (shown["state"], shown["amount_krw"]) == ("approved", 12_900)
    assert shown["order_id"] == str(order)
    assert shown["settled_at"] > shown["asked_at"]


# -- The provider --


async def test_no_answer_in_time_is_not_taken_for_an_answer(
    here: Orders, provider_url: str
) -> None:
    reference = uuid4()
    async with never_heard(provider_url) as url:
        hasty = PaymentProvider(url, KEY, here.http, within_s=2)
        with pytest.raises(NoAnswerError):
            await hasty.charge(reference, 1_000, "card-approved")
        while await here.payments.look_up(reference) is None:
            await asyncio.sleep(0.01)
    assert await here.payments.look_up(reference) == "approved"


async def test_a_provider_that_refuses_us_has_done_nothing(
    here: Orders, provider_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = PaymentProvider(provider_url, "wrong", here.http)
    reference = uuid4()
    with pytest.raises(ProviderAwayError):
        await stranger.charge(reference, 1_000, "card-approved")
    assert "refused PUT with 401" in caplog.text
    assert await here.payments.look_up(reference) is None
    assert await here.payments.charge(reference, 1_000, "card-approved") == "approved"
    with pytest.raises(ProviderAwayError):
        await here.payments.charge(reference, 2_000, "card-approved")


async def test_what_is_refunded_before_it_is_charged_is_never_charged(here: Orders) -> None:
    reference = uuid4()
    assert await here.payments.refund(reference) == "declined"
    assert await here.payments.charge(reference, 1_000, "card-approved") == "declined"


PROVIDER = schemathesis.openapi.from_path(EXTERNAL / "payment-provider.yaml")
PROVIDER.config.generation.max_examples = 25
PROVIDER.config.generation.deterministic = True
PROVIDER.config.checks.positive_data_acceptance.expected_statuses += [
    "404",
    "409",
    "422",  # JSON Schema takes 1.0 for an integer
]


@PROVIDER.parametrize()
def test_the_stand_in_keeps_the_contract(case: Case[Any], provider_url: str) -> None:
    case.call_and_validate(base_url=provider_url, headers={"Authorization": f"Bearer {KEY}"})


def test_the_stand_in_refuses_to_start_in_production() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "orders", "payment-stand-in"],
        env=os.environ | {"HOLDFAST_PROFILE": "production"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert "production needs a real provider" in told.stderr


def test_production_needs_a_provider(
    environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = {"HOLDFAST_ORIGIN": "https://shop.example", "HOLDFAST_LIMITS": "on"}
    settings = Settings.load({**environ, **secure, "HOLDFAST_PROFILE": "production"})
    monkeypatch.setenv("HOLDFAST_ORDERS_PAYMENT_URL", "https://pay.example/v1")
    with pytest.raises(SettingsError, match="HOLDFAST_ORDERS_PAYMENT_KEY"):
        Options.of(settings)
    monkeypatch.setenv("HOLDFAST_ORDERS_PAYMENT_KEY", "a key of theirs")
    with pytest.raises(SettingsError, match="HOLDFAST_ORDERS_PAYMENT_KEY"):
        Options.of(settings)
    monkeypatch.setenv("HOLDFAST_ORDERS_PAYMENT_KEY", "a-key-of-theirs")
    assert Options.of(settings).payment_url == "https://pay.example/v1"


def _tokens(issuer: Issuer, many: int) -> list[str]:
    return [issuer.token() for _ in range(many)]
