"""Limits by environment, and whose bucket a request falls into."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from time import monotonic

import asyncpg
import pytest

from holdfast.apps.identity.tests.api import PASSWORD, Answer, Api
from holdfast.apps.identity.tests.lanes import keep_closed


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | {"HOLDFAST_LIMITS": "on"}


async def try_login(api: Api, email: str, **headers: str) -> Answer:
    body = {"email": email, "password": "wrong password"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.call("POST", "/api/v1/auth/login", body, headers=named)


async def try_logins(api: Api, senders: list[dict[str, str]]) -> list[Answer]:
    """Different accounts each time, so that only the limit of the address counts."""
    tries = (try_login(api, f"a{i}@example.com", **sender) for i, sender in enumerate(senders))
    return await asyncio.gather(*tries)


async def allowed_logins(api: Api, senders: list[dict[str, str]]) -> int:
    return sum(answer.status != 429 for answer in await try_logins(api, senders))


async def counted_in_time(tries: Iterable[Awaitable[Answer]]) -> tuple[Counter[int], float]:
    """How they were answered, and in how many seconds: a slow run sees the first ones come back."""
    began = monotonic()
    answers = await asyncio.gather(*tries)
    return Counter(answer.status for answer in answers), monotonic() - began


async def test_login_is_limited_by_address_and_says_how_long_to_wait(api: Api) -> None:
    answers = await try_logins(api, [{}] * 30)
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 20
    for answer in refused:
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.headers["RateLimit-Limit"] == "10"
        assert answer.headers["RateLimit-Remaining"] == "0"
        assert int(answer.headers["RateLimit-Reset"]) >= 1


async def test_register_is_limited(api: Api) -> None:
    async def register(i: int) -> int:
        body = {"email": f"r{i}@example.com", "password": PASSWORD}
        return (await api.call("POST", "/api/v1/auth/register", body)).status

    statuses = await asyncio.gather(*(register(i) for i in range(8)))
    assert Counter(statuses) == {201: 5, 429: 3}


async def test_refresh_is_limited(api: Api) -> None:
    account = await api.sign_up()
    counted, took_s = await counted_in_time(api.refresh(account.refresh) for _ in range(30))
    assert counted.keys() == {200, 429}
    assert 20 <= counted[200] <= 20 + took_s / 3


async def test_show_me_is_limited(api: Api) -> None:
    account = await api.sign_up()
    counted, took_s = await counted_in_time(api.me(account) for _ in range(150))
    assert counted.keys() == {200, 429}
    # Twice: what Redis says is as much too generous as it was late.
    assert 100 <= counted[200] <= 100 + 2 * took_s / 0.6


async def test_a_forwarded_address_is_not_believed_from_strangers(api: Api) -> None:
    senders = [{"X_Forwarded_For": f"198.51.100.{i}"} for i in range(30)]
    assert await allowed_logins(api, senders) == 10


class TestBehindAProxy:
    @pytest.fixture
    def environ(self, environ: dict[str, str]) -> dict[str, str]:
        return environ | {"HOLDFAST_TRUSTED_PROXIES": "127.0.0.0/8"}

    async def test_clients_have_buckets_of_their_own(self, api: Api) -> None:
        senders = [{"X_Forwarded_For": f"198.51.100.{i}"} for i in range(30)]
        assert await allowed_logins(api, senders) == 30

    async def test_what_a_client_forwards_itself_is_not_believed(self, api: Api) -> None:
        senders = [{"X_Forwarded_For": f"203.0.113.{i}, 198.51.100.7"} for i in range(30)]
        assert await allowed_logins(api, senders) == 10

    async def test_addresses_inside_one_ipv6_prefix_are_one(self, api: Api) -> None:
        senders = [{"X_Forwarded_For": f"2001:db8:0:1::{i:x}"} for i in range(1, 31)]
        assert await allowed_logins(api, senders) == 10
        other = [{"X_Forwarded_For": "2001:db8:0:2::1"}]
        assert await allowed_logins(api, other) == 1


async def test_letter_case_of_an_address_opens_no_second_lane(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    for spelling in ("eve@example.com", "EVE@example.com", "Eve@Example.COM", " eve@example.com "):
        await try_login(api, spelling)
    await try_login(api, "eVe@example.com")
    assert (await try_login(api, "evE@example.com")).body["type"] == "/problems/too-many-failures"
