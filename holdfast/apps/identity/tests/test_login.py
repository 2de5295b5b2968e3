"""Signing in: right and wrong passwords, delays and lanes, old hashes, a full pool."""

import asyncio
from collections import Counter

import asyncpg
import bcrypt
import pytest

from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.tests.api import PASSWORD, Api, served
from holdfast.core.settings import Settings
from holdfast.core.web import build

FREE_FAILURES = 5


async def test_login_gives_a_pair_of_tokens(api: Api) -> None:
    account = await api.sign_up()
    answer = await api.login(account.email)
    assert answer.data.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (answer.data["token_type"], answer.data["expires_in"]) == ("Bearer", 900)


async def test_login_answers_the_same_for_an_unknown_account(api: Api) -> None:
    account = await api.sign_up()
    wrong = await api.login(account.email, "not the password")
    unknown = await api.login("nobody@example.com", "not the password")
    assert wrong.status == unknown.status == 401
    assert wrong.body == unknown.body


async def test_login_delays_grow_for_known_and_unknown_accounts_alike(api: Api) -> None:
    account = await api.sign_up()
    for email in (account.email, "nobody@example.com"):
        for _ in range(FREE_FAILURES):
            assert (await api.login(email, "wrong password")).status == 401
        delayed = await api.login(email)
        assert delayed.status == 429
        assert int(delayed.headers["Retry-After"]) >= 1
        assert "RateLimit-Limit" in delayed.headers


async def test_login_checks_no_more_parallel_guesses_than_the_limit(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    answers = await asyncio.gather(*(api.login(account.email, f"guess {i}") for i in range(200)))
    counted = Counter(answer.status for answer in answers)
    assert counted == {401: FREE_FAILURES, 429: 200 - FREE_FAILURES}
    outcomes = await db.fetch("SELECT outcome, count(*) FROM login_history GROUP BY outcome")
    assert {row["outcome"]: row["count"] for row in outcomes} == {
        "succeeded": 1,
        "wrong_password": FREE_FAILURES,
        "delayed": 200 - FREE_FAILURES,
    }


async def test_login_of_the_owner_from_a_known_device_is_not_locked_by_a_stranger(
    api: Api,
) -> None:
    account = await api.sign_up()
    for _ in range(20):
        guesses = (api.login(account.email, "wrong password") for _ in range(50))
        await asyncio.gather(*guesses)
    assert (await api.login(account.email)).status == 429
    assert (await api.login(account.email, device=account.device)).status == 200


async def test_login_with_a_forged_or_foreign_device_stays_in_the_strangers_lane(
    api: Api,
) -> None:
    account, other = await api.sign_up(), await api.sign_up()
    for _ in range(FREE_FAILURES):
        await api.login(account.email, "wrong password")
    forged = account.device[:-4] + "AAAA"
    for device in (other.device, forged, "x", "ä", ""):
        assert (await api.login(account.email, device=device)).status == 429


async def test_login_success_ends_the_failures_in_a_row(api: Api) -> None:
    account = await api.sign_up()
    for _ in range(3):
        for _ in range(FREE_FAILURES - 1):
            assert (await api.login(account.email, "wrong password")).status == 401
        assert (await api.login(account.email)).status == 200


async def test_login_takes_a_bcrypt_hash_over(api: Api, db: asyncpg.Connection) -> None:
    account = await api.sign_up()
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    await db.execute("UPDATE credentials SET password_hash = $1", old)
    assert (await api.login(account.email, "wrong password")).status == 401
    assert (await api.login(account.email)).status == 200
    stored = await db.fetchval("SELECT password_hash FROM credentials")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await api.login(account.email)).status == 200


async def test_login_tells_long_passwords_apart(api: Api) -> None:
    long = "p" * 100
    account = await api.sign_up(password=long)
    assert (await api.login(account.email, long[:-1] + "q")).status == 401
    assert (await api.login(account.email, long[:72])).status == 401
    assert (await api.login(account.email, long)).status == 200


async def test_login_refuses_an_endless_password_unhashed(api: Api) -> None:
    account = await api.sign_up()
    assert (await api.login(account.email, "p" * 1_000_000)).status == 413
    assert (await api.login(account.email, "p" * 1025)).status == 422


async def test_login_refuses_early_when_the_hashing_pool_is_full(
    settings: Settings, db: asyncpg.Connection
) -> None:
    options = Options(hash_threads=1, hash_deadline_s=0.2)
    async with served(build(settings, service(settings, options))) as url, Api.at(url) as api:
        accounts = [await api.sign_up() for _ in range(60)]
        answers = await asyncio.gather(*(api.login(account.email) for account in accounts))
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} == {200, 503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        # A refusal of ours is nobody's failed attempt.
        assert await db.fetchval("SELECT coalesce(max(failures), 0) FROM login_lanes") == 0
        assert (await api.login(accounts[-1].email)).status == 200


@pytest.mark.parametrize("body", [{}, {"email": "a@b.cd"}, {"password": "x"}, [], "x", None])
async def test_login_refuses_an_incomplete_body(api: Api, body: object) -> None:
    assert (await api.call("POST", "/api/v1/auth/login", body)).status == 422
