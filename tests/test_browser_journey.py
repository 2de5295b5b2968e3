"""What a newcomer does after `make up`, from an empty house, in three real browsers."""

from pathlib import Path

from playwright.async_api import Browser, Page, expect

from holdfast.apps.identity.tests.authenticator_app import App
from tests.test_browser_home import browser, pytestmark
from tests.test_browser_identity import ADA, add_authenticator, sign_in
from tests.test_up import Up, up

__all__ = ["browser", "pytestmark"]


async def test_from_an_empty_house_to_a_role_that_is_lost_at_the_next_click(
    browser: Browser, tmp_path: Path
) -> None:
    with up(tmp_path / "data") as house:
        page = await _somebody(browser, house)
        await _open_account(page)
        await sign_in(page)
        await page.wait_for_url("**/account")
        await add_authenticator(page)
        app = await _add_ways_in(page)

        phone = await _somebody(browser, house)
        await phone.goto("/sign-in")
        await sign_in(phone)
        await phone.get_by_label("Code").fill(app.code(steps=1))
        await phone.get_by_role("button", name="Continue").click()
        await phone.wait_for_url("**/account")

        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/account")  # the browser offers the passkey, and here says yes
        await page.get_by_role("link", name="Sessions").click()
        await page.locator(".rows li").get_by_role("button", name="End").first.click()
        await expect(page.get_by_role("status")).to_have_text("The session has ended.")
        await phone.get_by_role("link", name="Security").click()
        await expect(phone).to_have_url(f"{house.url}/sign-in?next=%2Faccount%2Fsecurity")

        admin = await _somebody(browser, house)
        await _make_administrator(admin, *house.account("Admin"))
        await page.goto("/admin/users")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await admin.get_by_role("button", name="Take away admin").click()
        await expect(admin.get_by_role("status")).to_be_visible()
        await page.get_by_role("link", name="Roles").click()
        await expect(page.get_by_role("link", name="Admin")).to_have_count(0)
        await expect(page.get_by_text("You are not allowed to do this.")).to_be_visible()


async def _somebody(browser: Browser, house: Up) -> Page:
    return await (await browser.new_context(base_url=house.url, locale="en-GB")).new_page()


async def _open_account(page: Page) -> None:
    await page.goto("/register")
    await page.get_by_label("E-mail address").fill(ADA)
    await page.get_by_label("Password", exact=True).fill("correct horse battery staple")
    await page.locator("form[action^='/register'] .button >> nth=0").click()
    await page.wait_for_url("**/register/sent*")
    await page.goto("/mail")
    await page.locator(".rows a, main a[href^='/mail/']").first.click()
    await page.wait_for_url("**/mail/*")
    link = page.locator("main a[href*='/verify-email']")
    while not await link.count():
        await page.reload()
    await link.first.click()
    await page.locator("form[action^='/verify-email'] .button").click()
    await expect(page.get_by_role("status")).to_contain_text("verified")


async def _add_ways_in(page: Page) -> App:
    await page.goto("/account/security")
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.get_by_role("status")).to_contain_text("The passkey is added.")
    await page.get_by_role("button", name="Set up: Authenticator app").click()
    await page.get_by_text("Enter the key by hand").click()
    app = App((await page.locator("pre").inner_text()).replace(" ", ""))
    await page.get_by_label("Code", exact=True).fill(app.code())
    await page.get_by_role("button", name="Turn on").click()
    await expect(page.get_by_role("heading")).to_have_text("Recovery codes")
    await page.goto("/account/security")
    return app


async def _make_administrator(admin: Page, email: str, password: str) -> None:
    await admin.goto("/sign-in?next=/admin/users")
    await admin.fill("[name=email]", email)
    await admin.fill("[name=password]", password)
    await admin.click("form[action^='/sign-in'] .button >> nth=0")
    await admin.get_by_role("link", name=ADA).click()
    await admin.get_by_label("Give a role").select_option("admin")
    await admin.get_by_role("button", name="Give", exact=True).click()
    await expect(admin.get_by_role("button", name="Take away admin")).to_be_visible()
