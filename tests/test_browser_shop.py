"""Sales in real browsers: what a person sees who waits, buys, loses, waits in line and is served."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from holdfast.apps.identity.tests.api import Account, Api
from tests.sale import answered, make_deal, make_editor, order
from tests.test_browser_console import SERIOUS
from tests.test_browser_home import CHROMIUM, FLAGS, PHONE
from tests.test_browser_home import pytestmark as needs_chromium
from tests.test_up import Up, up

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

FormIn = dict[str, str | float | bool]  # exactly so: a dict is invariant

OPENS_IN = timedelta(seconds=15)  # within them pages must be seen that wait for it
A_WRONG_CLOCK = """
const RealDate = Date;
const AHEAD_MS = 3600_000;
globalThis.Date = class extends RealDate {
  constructor(...told) { super(...(told.length ? told : [RealDate.now() + AHEAD_MS])); }
  static now() { return RealDate.now() + AHEAD_MS; }
};
"""


@dataclass
class Sale:
    """A running house, an editor of its catalog, and browsers that look at its pages."""

    house: Up
    browser: Browser
    api: Api
    editor: str
    complaints: list[str] = field(default_factory=list)

    async def deal(self, **told: Any) -> str:
        return await make_deal(self.api, self.editor, **{"quota": 1, "per_customer": 1} | told)

    async def page(self, account: Account | None, **options: Any) -> Page:
        """A browser of somebody's own; it fails the tests when a page breaks its policy."""
        context = await self.browser.new_context(
            base_url=self.house.url, **({"locale": "en-GB"} | options)
        )
        if account:
            form: FormIn = {"email": account.email, "password": account.password}
            entered = await context.request.post(
                "/sign-in", form=form, headers={"Origin": self.house.url}
            )
            assert entered.url.endswith("/account"), entered.url
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        return page

    def _listen(self, said: Any) -> None:
        # Chromium complains of every answer that is not good; here some must not be.
        if said.type == "error" and "Failed to load resource" not in said.text:
            self.complaints.append(said.text)


@pytest.fixture(scope="module", name="house")
def running_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("shop") / "data", "--workers=2") as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sale(house: Up) -> AsyncIterator[Sale]:
    async with async_playwright() as playwright, Api.at(house.url) as api:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        admin = await api.sign_in(*house.account("Admin"))
        sale = Sale(house, browser, api, await make_editor(api, admin))
        yield sale
        await browser.close()
    assert not sale.complaints


def view(page: Page, name: str) -> Any:
    return expect(page.locator(f'[data-view="{name}"]'))


async def until_visible(page: Page, name: str) -> None:
    await view(page, name).to_be_visible()


async def test_a_deal_is_waited_for_bought_paid_and_proved(sale: Sale) -> None:
    """By a buyer whose clock is an hour fast, while an operator looks on."""
    operator = await sale.page(Account(*sale.house.account("Admin"), "", "", ""))
    await operator.goto("/live")
    buyer = await sale.page(await sale.api.sign_up())
    await buyer.add_init_script(A_WRONG_CLOCK)
    opens_at = datetime.now(UTC) + OPENS_IN
    deal = await sale.deal(opens_at=opens_at, quota=2)
    await buyer.goto(f"/shop/offers/{deal}")
    buy = buyer.get_by_role("button", name="Buy for")
    await expect(buy).to_be_disabled()
    await expect(buyer.locator("#clock")).to_contain_text("Opens in")
    await expect(buyer.locator(".till .ahead")).to_contain_text(
        re.compile("clock is 01:00:0. fast")
    )

    await expect(buy).to_be_enabled()
    assert datetime.now(UTC) >= opens_at - timedelta(milliseconds=100)
    await buy.click()
    await until_visible(buyer, "won")
    await expect(buyer.locator('[data-slot="won"]')).to_have_text("1")
    await buyer.get_by_role("link", name="Go on to the payment").click()
    await buyer.get_by_role("button", name="Pay", exact=True).click()
    await expect(buyer.locator("#notice")).to_have_text("It is paid.")
    await buyer.get_by_role("button", name="Check it").click()
    await expect(buyer.locator('#findings [data-found="yes"]')).to_have_count(3)
    await expect(buyer.locator("#findings li").last).to_contain_text("Place 1 of the public list")

    row = operator.locator("#ledgers li", has=operator.locator(f'a[href$="{deal}"]'))
    equation = row.locator(".equation")
    await expect(equation).to_contain_text(
        re.compile(r"1\s+sold\s+\+\s+0\s+held\s+\+\s+1\s+remaining\s+=\s+2\s+in all\s+It holds")
    )
    placed = operator.locator("#outcomes tr", has_text="placed")
    await expect(placed.locator('[data-slot="total"]')).to_have_text("1")
    await expect(operator.locator('[data-figure="p99"]')).to_contain_text("ms")


async def test_what_is_sold_out_is_waited_for_in_line_and_had(sale: Sale) -> None:
    first = await sale.api.sign_up()
    deal = await sale.deal()
    page = await sale.page(await sale.api.sign_up())
    await page.route("**/stock", lambda route: route.abort())  # so that it learns by losing
    await page.goto(f"/shop/offers/{deal}")
    await page.get_by_role("button", name="Buy for").wait_for()
    bought = await answered(partial(order, sale.api, first.access, deal, "the-only-one"))
    await page.get_by_role("button", name="Buy for").click()
    await page.get_by_role("button", name="Join the waiting line").click()
    await expect(page.locator('[data-slot="line_place"]')).to_have_text("1")

    cancel = f"/api/v1/orders/{bought.data['id']}/cancel"
    await answered(partial(sale.api.call, "POST", cancel, token=first.access))
    await until_visible(page, "won")
    await expect(page.locator("#notice")).to_contain_text("One came back, and it is yours.")
    await expect(page.locator('[data-slot="won"]')).to_have_text("2")


async def test_lost_answers_and_a_reload_are_one_order(sale: Sale) -> None:
    """The first answer is lost on its way back, then the server is busy, then the page is left."""
    account = await sale.api.sign_up()
    deal = await sale.deal(quota=3, per_customer=3)
    page = await sale.page(account)
    keys = []

    async def lose(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        keys.append(route.request.headers["idempotency-key"])
        match len(keys):
            case 1:
                await route.fetch()
                await route.abort()
            case 2:
                await route.fulfill(status=503, headers={"Retry-After": "60"})
            case _:
                await route.continue_()

    await page.route("**/api/v1/orders", lose)
    await page.goto(f"/shop/offers/{deal}")
    await page.get_by_label("Quantity").fill("2")
    await page.get_by_role("button", name="Buy for").click()
    await expect(page.locator("#notice")).to_contain_text("Many ask")
    await page.reload()
    await until_visible(page, "won")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    answer = await sale.api.call("GET", "/api/v1/orders", token=account.access)
    assert [one["items"][0]["quantity"] for one in answer.data] == [2]
    assert await page.evaluate("sessionStorage.length") == 0


async def test_whoever_is_signed_out_looks_signs_in_and_comes_back(sale: Sale) -> None:
    account = await sale.api.sign_up()
    deal = await sale.deal()
    page = await sale.page(None)
    await page.goto("/shop")
    await page.get_by_role("link", name="Blue mug").first.wait_for()
    await page.goto("/live")
    await expect(page.locator("#signed-out")).to_be_visible()
    await page.goto(f"/shop/offers/{deal}")
    await page.get_by_role("link", name="Sign in to buy").click()
    await page.wait_for_url("**/sign-in?*")  # with its script, which moves the password's field
    await page.fill("[name=email]", account.email)
    await page.fill("[name=password]", account.password)
    await page.click("form[action^='/sign-in'] .button >> nth=0")
    await page.wait_for_url(f"**/shop/offers/{deal}")
    await page.get_by_role("button", name="Buy for").click()
    await until_visible(page, "won")
    await page.goto("/live")
    await expect(page.locator("#not-permitted")).to_contain_text("orders:read")


async def test_a_waiting_room_draws_its_people_and_lets_them_buy(sale: Sale) -> None:
    page, other = [await sale.page(await sale.api.sign_up()) for _ in range(2)]
    opens_at = datetime.now(UTC) + OPENS_IN
    deal = await sale.deal(opens_at=opens_at, quota=5, admit_per_s=1)
    for one in (page, other):
        await one.goto(f"/shop/offers/{deal}")
        await one.get_by_role("button", name="Enter the waiting room").click()
        await until_visible(one, "room")
    await expect(other.locator('[data-slot="room_value"]')).to_have_text("2")
    for one in (page, other):
        await until_visible(one, "buy")
        await expect(one.locator("#clock")).to_contain_text("Your turn ends in")
        await one.get_by_role("button", name="Buy for").click()
        await until_visible(one, "won")


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("ko", "dark")])
async def test_every_page_fits_a_phone_and_everybody(
    sale: Sale, language: str, scheme: str
) -> None:
    account = await sale.api.sign_up()
    opens_at = datetime.now(UTC) + timedelta(hours=30)
    coming, gone = await sale.deal(opens_at=opens_at), await sale.deal()
    bought = await answered(partial(order, sale.api, account.access, gone, "mine"))
    page = await sale.page(account, color_scheme=scheme, viewport=PHONE)
    for path, seen in (
        ("/shop", "#upcoming .deal"),
        (f"/shop/offers/{coming}", '[data-view="buy"]'),
        (f"/shop/offers/{gone}", ".mine li"),
        ("/shop/orders", ".orders li"),
        (f"/shop/orders/{bought.data['id']}", "#pay"),
        ("/live", "#ledgers li"),
    ):
        await page.goto(f"{path}?lang={language}")
        await page.locator(seen).first.wait_for()
        await fits(page)


async def fits(page: Page) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], page.url
    found = (await Axe().run(page)).response["violations"]
    assert not [one for one in found if one["impact"] in SERIOUS], (page.url, found)
