"""The home page in a real browser: the figures move, nothing breaks the page's own policy."""

import os
import re
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from holdfast.gateway.tests.conftest import Door, door

__all__ = ["door"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SHORTLY_MS = 30_000
A_NUMBER = re.compile(r"^[\d,.]+$")
PHONE = {"width": 390, "height": 844}

expect.set_options(timeout=SHORTLY_MS)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed (Debian: apt-get install chromium)"
)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, door: Door) -> AsyncIterator[Page]:
    """A page that fails its test when the browser complains: an exception, or the policy broken."""
    door.supervise(
        {"name": "postgres", "kind": "server"},
        {"name": "worker-1", "metrics_port": door.metrics_port},
    )
    complaints: list[str] = []
    page = await browser.new_page(base_url=door.url, locale="en-GB")
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    assert not complaints


async def test_show_home_counts_requests_as_they_come(page: Page, door: Door) -> None:
    await page.goto("/")
    await expect(page.locator("#headline")).to_have_text("Everything is running.")
    await expect(page.locator('[data-live="rate"]')).to_have_text(A_NUMBER)
    for _ in range(25):
        await door.text("/health/live")
    row = page.locator("#routes tr", has_text="GET /health/live")
    await expect(row.locator('[data-field="requests"]')).to_have_text("25")
    line = await page.locator(".spark .edge").get_attribute("d")
    assert line is not None
    assert line.startswith("M")


async def test_show_home_follows_a_process_that_stops(page: Page, door: Door) -> None:
    await page.goto("/")
    door.supervise(
        {"name": "postgres", "kind": "server", "state": "restarting", "pid": None},
        {"name": "worker-1", "metrics_port": door.metrics_port},
    )
    await expect(page.locator("#headline")).to_have_text("Not running: postgres")
    state = page.locator('[data-process="postgres"] [data-field="state"]')
    await expect(state).to_have_text("restarting")


@pytest.mark.parametrize("path", ["/", "/docs/identity", "/?lang=ko", "/docs/identity?lang=ko"])
async def test_pages_fit_a_phone(page: Page, path: str) -> None:
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a plain dict is what it wants
    await page.goto(path)
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


async def test_show_reference_opens_at_an_operation(page: Page) -> None:
    await page.goto("/docs/identity#login")
    await expect(page.locator("#login-title")).to_be_in_viewport()
    await expect(page.locator("#login .shown pre").first).to_contain_text("/api/v1/auth/login")
