"""Nobody learns from an answer, or from its time, who has an account."""

from collections.abc import Awaitable, Callable
from itertools import count
from statistics import median
from time import perf_counter

import asyncpg
import pytest

from holdfast.apps.identity.tests.api import PASSWORD, Answer, Api

Attempt = Callable[[Api, str], Awaitable[Answer]]

ROUNDS = 25
_numbers = count(1)


async def login(api: Api, email: str) -> Answer:
    return await api.login(email, "wrong password")


async def register(api: Api, email: str) -> Answer:
    body = {"email": email, "password": PASSWORD}
    return await api.call("POST", "/api/v1/auth/register", body)


@pytest.mark.parametrize("attempt", [login, register])
async def test_known_and_unknown_accounts_cost_the_same_work(api: Api, attempt: Attempt) -> None:
    """A skipped hash would show as a factor of five or more; noise does not reach two."""
    known = [(await api.sign_up()).email for _ in range(ROUNDS)]
    took: dict[bool, list[float]] = {True: [], False: []}
    for email in known:
        for is_known in (True, False):
            address = email if is_known else f"nobody{next(_numbers)}@example.com"
            began = perf_counter()
            answer = await attempt(api, address)
            took[is_known].append(perf_counter() - began)
            assert answer.status in {201, 401}
    ratio = median(took[True]) / median(took[False])
    assert 0.5 < ratio < 2, ratio


async def test_known_and_unknown_accounts_leave_the_same_traces(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    for email in (account.email, "nobody@example.com"):
        await login(api, email)
    counted = await db.fetch(
        "SELECT count(*) FROM login_history WHERE outcome <> 'succeeded' GROUP BY account"
    )
    assert [row["count"] for row in counted] == [1, 1]
    assert await db.fetchval("SELECT count(*) FROM login_lanes") == 2
