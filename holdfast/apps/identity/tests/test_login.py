"""Signing in: right and wrong passwords and codes, delays and lanes, old hashes, a full pool."""

import asyncio
from collections import Counter
from datetime import timedelta
from hashlib import sha512

import asyncpg
import bcrypt
import pytest

from holdfast.apps.identity.login.actions import FirstStep
from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Answer, Api, served
from holdfast.apps.identity.tests.authenticator_app import (
    add_app,
    first_step,
    second_step,
    sign_up_verified,
)
from holdfast.apps.identity.tests.lanes import keep_closed
from holdfast.apps.identity.tests.test_tokens import opened
from holdfast.apps.identity.tickets.actions import issue
from holdfast.core.settings import Settings
from holdfast.core.web import build

FREE_FAILURES = 5
AT_ONCE = 200


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


async def test_login_delays_grow_for_known_and_unknown_accounts_alike(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
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
    await keep_closed(db)
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
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await api.sign_up()
    for _ in range(20):
        guesses = (api.login(account.email, "wrong password") for _ in range(50))
        await asyncio.gather(*guesses)
    assert (await api.login(account.email)).status == 429
    assert (await api.login(account.email, device=account.device)).status == 200


async def test_login_with_a_forged_or_foreign_device_stays_in_the_strangers_lane(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
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
    long = sha512(b"long").hexdigest()
    account = await api.sign_up(password=long)
    assert (await api.login(account.email, long[:-1] + "q")).status == 401
    assert (await api.login(account.email, long[:72])).status == 401
    assert (await api.login(account.email, long)).status == 200


async def test_login_refuses_an_endless_password_unhashed(api: Api) -> None:
    account = await api.sign_up()
    assert (await api.login(account.email, "p" * 1_000_000)).status == 413
    assert (await api.login(account.email, "p" * 1025)).status == 422


async def test_login_refuses_early_when_the_hashing_pool_is_full(
    api: Api, settings: Settings, db: asyncpg.Connection
) -> None:
    accounts = [await api.sign_up() for _ in range(60)]
    options = Options(hash_threads=1, hash_deadline_s=0.2)
    async with served(build(settings, service(settings, options))) as url, Api.at(url) as narrow:

        async def log_in(accounts: list[Account]) -> list[Answer]:
            """Whoever finds the machine standing still is refused as well: then once more."""
            while True:
                answers = await asyncio.gather(*(narrow.login(one.email) for one in accounts))
                if any(answer.status != 503 for answer in answers):
                    return answers

        answers = await log_in(accounts)
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} == {200, 503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        # A refusal of ours is nobody's failed attempt.
        assert await db.fetchval("SELECT coalesce(max(failures), 0) FROM login_lanes") == 0
        assert [answer.status for answer in await log_in(accounts[-1:])] == [200]


@pytest.mark.parametrize("body", [{}, {"email": "a@b.cd"}, {"password": "x"}, [], "x", None])
async def test_login_refuses_an_incomplete_body(api: Api, body: object) -> None:
    assert (await api.call("POST", "/api/v1/auth/login", body)).status == 422


async def test_login_with_an_authenticator_app_gives_a_ticket_and_nothing_else(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    await add_app(api, db, account)
    before = await db.fetchval("SELECT count(*) FROM sessions")
    answer = await api.login(account.email)
    assert answer.status == 401
    assert answer.body["type"] == "/problems/second-factor-required"
    assert answer.body["methods"] == ["totp", "recovery_code"]
    assert "Set-Cookie" not in answer.headers
    assert await db.fetchval("SELECT count(*) FROM sessions") == before
    assert (await api.me(answer.body["ticket"])).status == 401


async def test_login_tells_of_a_second_factor_only_whoever_knows_the_password(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    await add_app(api, db, account)
    wrong = await api.login(account.email, "not the password")
    unknown = await api.login("nobody@example.com", "not the password")
    assert wrong.status == unknown.status == 401
    assert wrong.body == unknown.body


async def test_complete_login_gives_tokens_that_say_how(api: Api, db: asyncpg.Connection) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    entered = await second_step(api, await first_step(api, account), app.code())
    assert entered.status == 200
    assert entered.data.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert opened(entered.data["access_token"], 1)["amr"] == ["pwd", "otp", "mfa"]
    assert entered.headers["Set-Cookie"].startswith("holdfast_device=")
    assert (await api.me(entered.data["access_token"])).data["email"] == account.email
    refreshed = await api.refresh(entered.data["refresh_token"])
    assert opened(refreshed.data["access_token"], 1)["amr"] == ["pwd", "otp", "mfa"]


async def test_complete_login_uses_a_ticket_up_by_success_only(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    ticket = await first_step(api, account)
    for _ in range(2):
        wrong = await second_step(api, ticket, app.wrong_code())
        assert (wrong.status, wrong.body["type"]) == (401, "/problems/wrong-code")
    assert (await second_step(api, ticket, app.code())).status == 200
    again = await second_step(api, ticket, app.recovery_codes[0])
    assert (again.status, again.body["type"]) == (401, "/problems/ticket-refused")
    left = await db.fetchval("SELECT count(*) FROM recovery_codes WHERE used_at IS NULL")
    assert left == 10
    outcomes = await db.fetch("SELECT outcome FROM login_history ORDER BY position")
    assert [row["outcome"] for row in outcomes] == [
        *("succeeded", "wrong_second_factor", "wrong_second_factor", "succeeded")
    ]


@pytest.mark.parametrize("tickets", [1, 10])
async def test_complete_login_lets_one_right_code_in_once_of_many_at_once(
    api: Api, db: asyncpg.Connection, tickets: int
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    proved = [await first_step(api, account) for _ in range(tickets)]
    before = await db.fetchval("SELECT count(*) FROM sessions")
    code = app.code()
    tries = (second_step(api, proved[i % tickets], code) for i in range(AT_ONCE))
    counted = Counter(answer.status for answer in await asyncio.gather(*tries))
    assert counted[200] == 1
    assert counted.keys() <= {200, 401, 429}
    assert await db.fetchval("SELECT count(*) FROM sessions") == before + 1


async def test_complete_login_checks_no_more_parallel_guesses_than_the_limit_over_many_tickets(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    tickets = [await first_step(api, account) for _ in range(10)]
    wrong = app.wrong_code()
    guesses = (second_step(api, tickets[i % 10], wrong) for i in range(AT_ONCE))
    counted = Counter(answer.status for answer in await asyncio.gather(*guesses))
    assert counted == {401: FREE_FAILURES, 429: AT_ONCE - FREE_FAILURES}
    # Neither the right code nor a right password opens the lane: only time does.
    another = await first_step(api, account)
    assert (await second_step(api, another, app.code())).status == 429
    outcomes = await db.fetch("SELECT outcome, count(*) FROM login_history GROUP BY outcome")
    assert {row["outcome"]: row["count"] for row in outcomes} == {
        "succeeded": 1,
        "wrong_second_factor": FREE_FAILURES,
        "delayed": AT_ONCE - FREE_FAILURES + 1,
    }


async def test_complete_login_of_the_owner_from_a_known_device_is_not_locked_by_a_stranger(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    stolen = await first_step(api, account)
    for _ in range(FREE_FAILURES):
        await second_step(api, stolen, app.wrong_code())
    ticket = await first_step(api, account)
    assert (await second_step(api, ticket, app.code())).status == 429
    assert (await second_step(api, ticket, app.code(), account.device)).status == 200


async def test_complete_login_refuses_a_ticket_from_before_a_password_change(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    ticket = await first_step(api, account)
    changed = await api.call(
        "POST",
        "/api/v1/users/me/password",
        {"current_password": account.password, "new_password": "another long enough password"},
        token=account.access,
    )
    assert changed.status == 204
    refused = await second_step(api, ticket, app.code())
    assert (refused.status, refused.body["type"]) == (401, "/problems/ticket-refused")


async def test_complete_login_goes_on_when_the_first_step_took_a_bcrypt_hash_over(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    await db.execute("UPDATE credentials SET password_hash = $1", old)
    ticket = await first_step(api, account)
    assert await db.fetchval("SELECT password_hash FROM credentials") != old
    assert (await second_step(api, ticket, app.code())).status == 200


async def test_complete_login_refuses_whoever_was_banned_between_the_steps(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    ticket = await first_step(api, account)
    await db.execute("UPDATE users SET banned_at = now()")
    refused = await second_step(api, ticket, app.code())
    assert (refused.status, refused.body["type"]) == (403, "/problems/banned")


async def test_complete_login_refuses_what_is_no_ticket_of_a_first_step(
    api: Api, db: asyncpg.Connection, here: Identity
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    user_id = await db.fetchval("SELECT id FROM users")
    facts = FirstStep(user_id, ["pwd"], None)
    lifetime = timedelta(minutes=1)
    other = await issue(here.db, here.secrets, "another purpose", facts, lifetime=lifetime)
    genuine = await first_step(api, account)
    for ticket in (other, genuine[:-4] + "AAAA", account.refresh, "hft_", "ä"):
        assert (await second_step(api, ticket, app.code())).status == 401


class TestLimitedByAddress:
    @pytest.fixture
    def environ(self, environ: dict[str, str]) -> dict[str, str]:
        return environ | {"HOLDFAST_LIMITS": "on"}

    async def test_complete_login_shares_the_limit_of_login(self, api: Api) -> None:
        tries = [second_step(api, "hft_", "123456") for _ in range(15)]
        tries += [api.login(f"nobody{i}@example.com") for i in range(15)]
        answers = await asyncio.gather(*tries)
        assert Counter(answer.status for answer in answers) == {401: 10, 429: 20}
