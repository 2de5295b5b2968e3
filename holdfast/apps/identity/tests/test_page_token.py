"""The token behind a page's cookie: for the front door, never for a page."""

from typing import Any

import pytest

from holdfast.apps.identity.tests.api import Api
from holdfast.apps.identity.tests.browser import Browser
from holdfast.core.settings import Settings
from holdfast.core.tests.serving import Answer

PATH = "/internal/v1/page-token"


@pytest.fixture
def browser(api: Api, settings: Settings) -> Browser:
    return Browser(api, settings.origin)


async def ask(api: Api, browser: Browser, **headers: Any) -> Answer:
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return await api.call("POST", PATH, headers={"Cookie": cookie, **headers})


async def test_issue_page_token_is_the_persons_and_ends_with_the_session(
    api: Api, browser: Browser
) -> None:
    account = await api.sign_up()
    await browser.sign_in(account.email)
    token = (await ask(api, browser)).data["access_token"]
    me = await api.call("GET", "/api/v1/users/me", token=token)
    assert me.data["email"] == account.email
    cookies = dict(browser.cookies)
    await browser.send("/sign-out")
    browser.cookies = cookies
    assert (await ask(api, browser)).status == 401
    assert (await api.call("GET", "/api/v1/users/me", token=token)).status == 401


async def test_issue_page_token_to_nobody(api: Api, browser: Browser) -> None:
    account = await api.sign_up()
    assert (await ask(api, browser)).status == 401
    browser.cookies = {"holdfast_session": "hfs_made-up"}
    assert (await ask(api, browser)).status == 401
    answer = await api.call("POST", PATH, token=account.access)
    assert answer.status == 401


@pytest.mark.parametrize("site", ["same-origin", "same-site", "cross-site", "none"])
async def test_issue_page_token_to_no_script(api: Api, browser: Browser, site: str) -> None:
    await browser.sign_in((await api.sign_up()).email)
    answer = await ask(api, browser, **{"Sec-Fetch-Site": site})
    assert answer.status == 403
    assert "data" not in answer.body
