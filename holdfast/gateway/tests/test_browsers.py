"""A page's cookie opens the APIs behind the door, and nobody else's request does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.apps.identity.tests.api import Api
from holdfast.apps.identity.tests.browser import Browser
from holdfast.cli.servers import free_port
from holdfast.core import jwks
from holdfast.core.identity import IdentityAwayError
from holdfast.core.settings import Settings
from holdfast.core.tests.patience import PATIENCE_S, be_patient
from holdfast.core.tests.serving import served
from holdfast.gateway import browsers
from holdfast.gateway.browsers import ASK, Browsers
from holdfast.gateway.main import front_door
from holdfast.gateway.options import Options

MINE = "/api/v1/orders"
OURS = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Page:
    """What a script of a page asks, as a browser sends it."""

    url: str
    cookie: str
    http: aiohttp.ClientSession = field(repr=False)

    async def ask(self, path: str = MINE, **headers: str) -> int:
        sent = {"Cookie": self.cookie, **headers}
        async with self.http.get(self.url + path, headers=sent) as answer:
            return answer.status


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity, its database and the keys may take their time."""
    be_patient(monkeypatch)
    monkeypatch.setenv("HOLDFAST_IDENTITY_HASH_DEADLINE_S", str(PATIENCE_S))
    monkeypatch.setattr(browsers, "ASK", msgspec.structs.replace(ASK, timeout_s=PATIENCE_S))
    monkeypatch.setattr(jwks, "ANSWERS_WITHIN", aiohttp.ClientTimeout(total=PATIENCE_S))


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return Settings.load(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
            "HOLDFAST_DB_POOL_MIN": "1",
            "HOLDFAST_LEASE_S": str(PATIENCE_S),
            "HOLDFAST_ORIGIN": f"http://127.0.0.1:{free_port()}",
        }
    )


@pytest.fixture
async def door(settings: Settings) -> AsyncIterator[Api]:
    """Where its origin says: services fetch identity's keys there."""
    port = urlsplit(settings.origin).port or 0
    async with served(front_door(settings, Options()), port) as url, Api.at(url) as api:
        yield api


@pytest.fixture
async def person(door: Api, settings: Settings) -> Browser:
    account = await door.sign_up()
    return await Browser(door, settings.origin).sign_in(account.email)


@pytest.fixture
def page(door: Api, person: Browser) -> Page:
    cookie = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    return Page(door.url, cookie, door.http)


async def test_a_page_of_ours_asks_as_its_person(page: Page, settings: Settings) -> None:
    assert await page.ask(**OURS) == 200
    assert await page.ask("/api/v1/users/me", **OURS) == 200
    assert await page.ask(Origin=settings.origin) == 200  # of a browser that tells no site
    assert await page.ask("/api/v1/products/deals", **OURS) == 200


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {**OURS, "Authorization": "Basic YTpi"},
        {**OURS, "Authorization": "Bearer nonsense"},
    ],
)
async def test_no_other_request_is_made_by_the_cookie(page: Page, told: dict[str, str]) -> None:
    assert await page.ask(**told) == 401


@pytest.mark.parametrize("cookie", ["", "holdfast_session=made-up", "holdfast_session=", "=;;,"])
async def test_a_cookie_that_is_none_is_nobodys(page: Page, cookie: str) -> None:
    page.cookie = cookie
    assert await page.ask(**OURS) == 401
    assert await page.ask("/api/v1/products/deals", **OURS) == 200


async def test_the_way_to_the_token_is_closed(page: Page, door: Api) -> None:
    answer = await door.call("POST", ASK.path, headers={"Cookie": page.cookie})
    assert answer.status == 404


async def test_whoever_signs_out_is_out_when_the_token_is_asked_for_again(
    person: Browser, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsers, "REMEMBERED_S", 0.0)
    assert await page.ask(**OURS) == 200
    await person.send("/sign-out")
    assert await page.ask(**OURS) == 401


@dataclass
class Identity:
    """An upstream that answers as it is told."""

    status: int = 200
    body: bytes = b'{"data": {"access_token": "t", "expires_in": 900}}'
    asked: int = 0

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


def scope_of(cookie: str) -> dict[str, Any]:
    return {"headers": [(b"cookie", cookie.encode()), (b"sec-fetch-site", b"same-origin")]}


async def test_identity_is_asked_once_for_all_that_a_page_asks(settings: Settings) -> None:
    identity = Identity()
    asked: ASGIApp = identity
    known = Browsers(settings, asked)
    for _ in range(3):
        assert await known.token_for(scope_of("a=b; holdfast_session=x")) == b"t"
    assert identity.asked == 1
    assert await known.token_for(scope_of("holdfast_session=y")) == b"t"
    assert identity.asked == 2


async def test_an_identity_that_fails_is_asked_again(settings: Settings) -> None:
    identity = Identity(status=503)
    known = Browsers(settings, identity)
    with pytest.raises(IdentityAwayError):
        await known.token_for(scope_of("holdfast_session=x"))
    identity.status = 200
    assert await known.token_for(scope_of("holdfast_session=x")) == b"t"
