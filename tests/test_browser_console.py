"""The admin console in real browsers: what is taken away is gone at the other one's next click."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, expect

from holdfast.apps.identity.main import service
from holdfast.apps.identity.tests.api import PASSWORD, Api, served
from holdfast.apps.identity.tests.conftest import SECRET, make_admin
from holdfast.cli.servers import free_port
from holdfast.core.settings import Settings
from holdfast.core.web import build
from tests.test_browser_home import PHONE, browser, pytestmark

__all__ = ["browser", "pytestmark"]

AUDITOR = "auditor@example.com"
SERIOUS = {"serious", "critical"}


@dataclass
class Site:
    """A running identity with an administrator and an auditor, and browsers that look at it."""

    url: str
    browser: Browser
    api: Api
    db: asyncpg.Connection
    complaints: list[str]

    async def page(self, email: str, **options: Any) -> Page:
        """A browser of one's own, signed in; it fails the test when a page breaks its policy."""
        context = await self.browser.new_context(
            base_url=self.url, **({"locale": "en-GB"} | options)
        )
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        await page.goto("/sign-in")
        await page.fill("[name=email]", email)
        await page.fill("[name=password]", PASSWORD)
        await page.click("main .button:not([type=button]) >> nth=0")
        await page.wait_for_url("**/account")
        return page

    def _listen(self, said: Any) -> None:
        # Chromium complains of every answer that is not good; here some must not be.
        if said.type == "error" and "Failed to load resource" not in said.text:
            self.complaints.append(said.text)

    async def id_of(self, email: str) -> str:
        return str(await self.db.fetchval("SELECT id FROM users WHERE email = $1", email))


@pytest.fixture
async def site(browser: Browser, database_url: str, redis_url: str) -> AsyncIterator[Site]:
    port = free_port()
    settings = Settings.load(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOLDFAST_SECRET": SECRET,
            "HOLDFAST_LIMITS": "off",
            "HOLDFAST_ORIGIN": f"http://localhost:{port}",
        }
    )
    db = await asyncpg.connect(database_url, server_settings={"search_path": "identity"})
    app = build(settings, service(settings))
    async with served(app, port) as url, Api.at(url) as api:
        site = Site(settings.origin, browser, api, db, [])
        await make_admin(api, db)
        await api.sign_up(AUDITOR)
        await db.execute("INSERT INTO roles VALUES ('auditor', 'Reads what was done')")
        await db.execute("INSERT INTO role_permissions VALUES ('auditor', 'audit:read')")
        await db.execute(
            "INSERT INTO user_roles SELECT id, 'auditor' FROM users WHERE email = $1", AUDITOR
        )
        yield site
        await db.close()
    assert not site.complaints


async def test_a_role_that_is_taken_away_is_gone_at_the_next_click(site: Site) -> None:
    admin, auditor = await site.page("admin@example.com"), await site.page(AUDITOR)
    await auditor.get_by_role("link", name="Admin").click()
    await expect(auditor.get_by_role("heading", name="Audit log")).to_be_visible()

    await admin.get_by_role("link", name="Admin").click()
    await admin.get_by_role("link", name=AUDITOR).click()
    await admin.get_by_role("button", name="Take away auditor").click()
    await expect(admin.get_by_role("status")).to_contain_text("The role is taken away.")

    await auditor.get_by_role("link", name="Audit log").click()
    await expect(auditor.locator("main")).to_contain_text("You are not allowed to do this.")
    await expect(auditor.get_by_role("link", name="Admin")).to_have_count(0)


async def test_a_banned_user_is_signed_out_at_the_next_click(site: Site) -> None:
    admin, auditor = await site.page("admin@example.com"), await site.page(AUDITOR)
    await auditor.goto("/admin/audit")
    await admin.goto(f"/admin/users/{await site.id_of(AUDITOR)}")
    await admin.get_by_label("Reason").fill("Left the company")
    await admin.get_by_role("button", name="Ban").click()
    await expect(admin.locator(".message[data-kind=bad]")).to_contain_text("Left the company")

    await auditor.get_by_role("link", name="Audit log").click()
    await expect(auditor).to_have_url(f"{site.url}/sign-in?next=%2Fadmin%2Faudit")

    await admin.goto("/admin/audit")
    await expect(admin.locator(".rows li").first).to_contain_text("user.banned")


async def test_the_console_works_without_a_script(site: Site) -> None:
    admin = await site.page("admin@example.com", java_script_enabled=False)
    await admin.goto("/admin/roles")
    await admin.get_by_text("New role").click()
    await admin.get_by_label("Name").fill("editor")
    await admin.get_by_role("button", name="Create").click()
    await expect(admin.get_by_role("heading", name="editor")).to_be_visible()
    await admin.get_by_label("Add a permission").select_option("users:read")
    await admin.get_by_role("button", name="Add", exact=True).click()
    await expect(admin.get_by_role("button", name="Take away users:read")).to_be_visible()


async def test_a_form_of_another_site_changes_nothing(site: Site) -> None:
    admin = await site.page("admin@example.com")
    target = f"{site.url}/admin/users/{await site.id_of(AUDITOR)}/ban"
    await admin.route(
        "http://evil.example/",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<form method="post" action="{target}"><button>x</button>',
        ),
    )
    await admin.goto("http://evil.example/")
    async with admin.expect_response(target) as answered:
        await admin.click("button")
    assert (await answered.value).status == 403
    assert not await site.db.fetchval("SELECT count(*) FROM users WHERE banned_at IS NOT NULL")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_console_pages_fit_a_phone_and_everybody(
    site: Site, scheme: str, language: str
) -> None:
    admin = await site.page("admin@example.com", color_scheme=scheme, viewport=PHONE)
    await admin.goto("/admin/clients")
    await admin.get_by_text("New client").click()
    await admin.get_by_label("Name").fill("Shop")
    await admin.get_by_label("Redirect addresses").fill("https://shop.example/a/long/way/back")
    await admin.get_by_role("button", name="Create").click()
    await expect(admin.locator("#secret")).to_be_visible()
    await fits(admin)
    client = await site.db.fetchval("SELECT id FROM clients")
    auditor = await site.id_of(AUDITOR)
    for path in (
        "/admin/users",
        f"/admin/users/{auditor}",
        "/admin/roles",
        "/admin/roles/auditor",
        "/admin/permissions",
        "/admin/audit",
        "/admin/clients",
        f"/admin/clients/{client}",
    ):
        await admin.goto(f"{path}?lang={language}")
        for fold in await admin.locator("details").all():
            await fold.evaluate("fold => { fold.open = true; }")
        await fits(admin)


async def fits(page: Page) -> None:
    await page.wait_for_load_state()
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], page.url
    found = (await Axe().run(page)).response["violations"]
    assert not [one for one in found if one["impact"] in SERIOUS], (page.url, found)
