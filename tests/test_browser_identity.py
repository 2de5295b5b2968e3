"""Identity's pages for people in real browsers: with passkeys and codes, by mail, without a script."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import CDPSession, Page, expect

from holdfast.apps.identity.tests.api import PASSWORD
from holdfast.apps.identity.tests.authenticator_app import App
from holdfast.apps.identity.tests.conftest import SECRET
from tests.test_browser_console import Site, fits, site
from tests.test_browser_home import PHONE, browser, pytestmark

__all__ = ["browser", "pytestmark", "site"]

ADA = "ada@example.com"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
TO_COME_IN = [
    "/sign-in?problem=ticket-refused",
    "/sign-in/second-factor?ticket=x",
    "/register",
    "/register/sent",
    "/verify-email?ticket=x",
    "/confirm-email?ticket=x",
    "/reset",
    "/reset-password?ticket=x",
]
SIGNED_IN = [
    "/account?done=profile-changed",
    "/account/security",
    "/account/security/totp",
    "/account/sessions",
    "/account/data",
    "/step-up",
    "/mail",
]


@asynccontextmanager
async def sending_mails(site: Site, database_url: str, redis_url: str) -> AsyncIterator[None]:
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOLDFAST_SECRET": SECRET,
        "HOLDFAST_ORIGIN": site.url,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "jobs", "identity"),
        env={**os.environ, **environ},
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def verified(site: Site, **options: object) -> Page:
    """The browser of somebody whose address is known to be theirs."""
    await site.api.sign_up(ADA)
    await site.db.execute("UPDATE users SET email_verified_at = now() WHERE email = $1", ADA)
    return await site.page(ADA, **options)


async def add_authenticator(page: Page) -> CDPSession:
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("WebAuthn.enable")
    await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return devtools


async def sign_in(page: Page, password: str = PASSWORD) -> None:
    await page.wait_for_load_state()  # its script puts the password's field into a frame
    await page.fill("[name=email]", ADA)
    await page.fill("[name=password]", password)
    await page.click("form[action^='/sign-in'] .button >> nth=0")


async def test_an_account_is_opened_and_verified_by_mail(
    site: Site, database_url: str, redis_url: str
) -> None:
    page = await (await site.browser.new_context(base_url=site.url, locale="ko-KR")).new_page()
    await page.goto("/register")
    await page.get_by_label("이메일 주소").fill(ADA)
    await page.get_by_label("비밀번호", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="계정 만들기").click()
    await expect(page.get_by_role("heading")).to_have_text("메일을 확인하세요")
    async with sending_mails(site, database_url, redis_url):
        await page.get_by_role("link", name="메일 보기").click()
        await page.get_by_role("link", name="이메일 주소를 확인해 주세요").click()
        await page.wait_for_url("**/mail/*")
        link = page.locator("main a[href*='/verify-email']")
        while not await link.count():
            await page.reload()
    await link.first.click()
    await page.get_by_role("button", name="이 주소 확인하기").click()
    await expect(page.get_by_role("status")).to_have_text("이메일 주소를 확인했습니다.")
    await sign_in(page)
    await expect(page.locator(".tag", has_text="확인됨")).to_be_visible()


async def test_a_passkey_is_added_and_lets_its_owner_in(site: Site) -> None:
    page = await verified(site)
    await add_authenticator(page)
    await page.goto("/account/security")
    await page.get_by_label("Name").fill("Laptop")
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.get_by_role("status")).to_contain_text("The passkey is added.")

    await site.db.execute("UPDATE sessions SET authenticated_at = now() - interval '1 hour'")
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url(
        f"{site.url}/account"
    )  # the browser offers the passkey, and here says yes
    await page.goto("/account/security")
    await expect(page.get_by_text("Laptop")).to_be_visible()


async def test_a_passkey_proves_once_more_who_it_is(site: Site) -> None:
    page = await verified(site)
    await add_authenticator(page)
    await page.goto("/account/security")
    await page.get_by_role("button", name="Add a passkey").click()
    await page.wait_for_url("**done=passkey-added")
    await page.goto("/step-up?next=/account/data")
    await page.get_by_role("button", name="Use a passkey").click()
    await page.wait_for_url(f"{site.url}/account/data")
    assert await site.db.fetchval(
        "SELECT count(*) FROM audit_log WHERE action = 'session.stepped_up'"
    )


async def test_a_code_of_the_app_is_needed_once_it_is_set_up(site: Site) -> None:
    page = await verified(site)
    await page.goto("/account/security")
    await page.get_by_role("button", name="Set up: Authenticator app").click()
    await page.get_by_text("Enter the key by hand").click()
    app = App((await page.locator("pre").inner_text()).replace(" ", ""))
    await page.get_by_label("Code", exact=True).fill(app.code())
    await page.get_by_role("button", name="Turn on").click()
    await expect(page.get_by_role("heading")).to_have_text("Recovery codes")
    codes = (await page.locator("pre").inner_text()).split()

    other = await (await site.browser.new_context(base_url=site.url, locale="en-GB")).new_page()
    await other.goto("/sign-in?next=/account/data")
    await sign_in(other)
    await other.get_by_label("Code").fill(codes[0])
    await other.get_by_role("button", name="Continue").click()
    await other.wait_for_url(f"{site.url}/account/data")
    await page.goto("/account/security")
    await expect(page.get_by_text("9 left")).to_be_visible()


async def test_a_session_is_seen_and_ended_from_another_browser(site: Site) -> None:
    page = await verified(site)
    phone = await site.page(ADA, viewport=PHONE, user_agent="Mozilla/5.0 (iPhone) Version/26.0")
    await page.goto("/account/sessions")
    row = page.locator(".rows li", has_text="Safari on iPhone")
    await row.get_by_role("button", name="End").click()
    await expect(page.get_by_role("status")).to_have_text("The session has ended.")
    await phone.get_by_role("link", name="Security").click()
    await expect(phone).to_have_url(f"{site.url}/sign-in?next=%2Faccount%2Fsecurity")


async def test_a_wrong_password_is_told_in_korean_and_the_field_keeps_the_address(
    site: Site,
) -> None:
    await site.api.sign_up(ADA)
    page = await (await site.browser.new_context(base_url=site.url, locale="ko-KR")).new_page()
    await page.goto("/sign-in")
    await sign_in(page, "not the one")
    told = page.get_by_role("alert").first
    await expect(told).to_have_text("이메일 주소 또는 비밀번호가 올바르지 않습니다.")
    await expect(told).to_be_focused()
    await expect(page.get_by_label("이메일 주소")).to_have_value(ADA)


async def test_everything_but_passkeys_works_without_a_script(site: Site) -> None:
    page = await verified(site, java_script_enabled=False)
    await expect(page.get_by_role("button", name="passkey")).to_have_count(0)
    await page.get_by_label("Name").fill("Ada")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Ada")
    await page.get_by_role("link", name="Security").click()
    await page.locator("summary", has_text="Change the password").click()
    await page.get_by_label("Current password").fill(PASSWORD)
    await page.get_by_label("New password").fill("seven quiet otters sleep")
    await page.get_by_role("button", name="Change the password").click()
    await expect(page.get_by_role("status")).to_contain_text("Sign in with the new one.")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_fit_a_phone_and_everybody(site: Site, scheme: str, language: str) -> None:
    page = await verified(site, color_scheme=scheme, viewport=PHONE)
    devtools = await add_authenticator(page)
    await page.goto("/account/security")
    await page.get_by_role("button", name="Add a passkey").click()
    await page.wait_for_url("**done=passkey-added")
    await page.get_by_role("button", name="Set up: Authenticator app").click()
    await expect(page.get_by_text("Enter the key by hand")).to_be_visible()
    await page.goto("/account/sessions")
    await page.get_by_text("Make a token").click()
    await page.get_by_label("Name").fill("backup")
    await page.get_by_role("button", name="Make the token").click()
    await expect(page.locator("pre")).to_be_visible()
    await fits(page)
    await look_at(page, SIGNED_IN, language)
    await page.context.clear_cookies()
    await devtools.send("WebAuthn.disable")  # it would sign in by itself
    await look_at(page, TO_COME_IN, language)
    await page.fill("[name=new_password]", PASSWORD)
    await page.get_by_role("button").last.click()
    await expect(page.get_by_role("alert")).to_be_visible()  # the ticket is none
    await fits(page)


async def look_at(page: Page, paths: list[str], language: str) -> None:
    for path in paths:
        joint = "&" if "?" in path else "?"
        await page.goto(f"{path}{joint}lang={language}")
        for fold in await page.locator("details").all():
            await fold.evaluate("fold => { fold.open = true; }")
        await fits(page)
