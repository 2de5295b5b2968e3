"""Signing in to somebody else's service in a real browser: through forms, consent, and back out.

Browsers hold the whole chain that a form begins to the policy of the form's page, so a redirect from
a form to another site is blocked there, and nowhere else: no other test would notice.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from holdfast.apps.identity.main import service
from holdfast.apps.identity.tests.api import PASSWORD, Api, served
from holdfast.apps.identity.tests.conftest import SECRET, make_admin
from holdfast.apps.identity.tests.relying_party import Browser as NoBrowser
from holdfast.apps.identity.tests.relying_party import RelyingParty
from holdfast.cli.servers import free_port
from holdfast.core.settings import Settings
from holdfast.core.web import build
from tests.test_browser_home import browser, pytestmark

__all__ = ["browser", "pytestmark"]

SERIOUS = {"serious", "critical"}
ADA = "ada@example.com"


async def welcome(request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>Wiki</title><link rel=icon href=data:,>")


WIKI = Starlette(routes=[Route("/{path:path}", welcome)])


@dataclass
class Visit:
    """A person's browser at a service that they must agree to."""

    page: Page
    party: RelyingParty
    url: str

    @property
    def back(self) -> str:
        return self.party.redirect_uri

    async def begin(self) -> None:
        await self.page.goto(f"{self.url}/oauth/authorize?{self.party.asking()}")

    async def sign_in(self) -> None:
        await self.page.fill("[name=email]", ADA)
        await self.page.fill("[name=password]", PASSWORD)
        await self.page.get_by_role("button", name="Sign in", exact=True).click()


@pytest.fixture
async def visit(browser: Browser, database_url: str, redis_url: str) -> AsyncIterator[Visit]:
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
    complaints: list[str] = []

    def listen(said: Any) -> None:
        if said.type == "error":
            complaints.append(said.text)

    async with (
        served(build(settings, service(settings)), port) as url,
        served(WIKI) as wiki,
        Api.at(url) as api,
    ):
        party = await RelyingParty.made(
            api,
            await make_admin(api, db),
            NoBrowser(api, settings.origin),
            redirect_uris=[f"{wiki}/back"],
            logout_uris=[f"{wiki}/back/bye"],
            trusted=False,
        )
        await api.sign_up(ADA)
        page = await browser.new_page(locale="en-GB")
        page.on("console", listen)
        yield Visit(page, party, settings.origin)
        await db.close()
    assert not complaints


async def test_somebody_signs_in_agrees_and_comes_back_with_a_code(visit: Visit) -> None:
    await visit.begin()
    await visit.sign_in()
    await expect(visit.page.get_by_role("heading", name="Sign in to Wiki")).to_be_visible()
    await expect(visit.page.get_by_text("your e-mail address")).to_be_visible()
    found = await Axe().run(visit.page)
    assert not [one for one in found.response["violations"] if one["impact"] in SERIOUS]
    await visit.page.get_by_role("button", name="Allow", exact=True).click()
    await visit.page.wait_for_url(f"{visit.back}?code=*")
    code = visit.party.told_by(visit.page.url)["code"]
    assert (await visit.party.exchange(code)).status == 200


async def test_whoever_agreed_before_goes_from_the_form_straight_back(visit: Visit) -> None:
    await test_somebody_signs_in_agrees_and_comes_back_with_a_code(visit)
    await visit.page.context.clear_cookies()
    await visit.begin()
    await visit.sign_in()
    await visit.page.wait_for_url(f"{visit.back}?code=*")


async def test_whoever_does_not_agree_comes_back_without_a_code(visit: Visit) -> None:
    await visit.begin()
    await visit.sign_in()
    await visit.page.get_by_role("button", name="Do not allow").click()
    await visit.page.wait_for_url(f"{visit.back}?error=access_denied*")


async def test_a_client_signs_somebody_out_after_a_question(visit: Visit) -> None:
    await test_somebody_signs_in_agrees_and_comes_back_with_a_code(visit)
    query = f"client_id={visit.party.id}&post_logout_redirect_uri={visit.back}/bye"
    await visit.page.goto(f"{visit.url}/oauth/logout?{query}")
    found = await Axe().run(visit.page)
    assert not [one for one in found.response["violations"] if one["impact"] in SERIOUS]
    await visit.page.get_by_role("main").get_by_role("button", name="Sign out").click()
    await visit.page.wait_for_url(f"{visit.back}/bye")
    await visit.page.goto(f"{visit.url}/account")
    await expect(visit.page).to_have_url(f"{visit.url}/sign-in?next=%2Faccount")
