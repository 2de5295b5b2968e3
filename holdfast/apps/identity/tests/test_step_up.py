"""Step-up: proving once more, by all that a sign-in asks for, counted like a sign-in."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from joserfc import jws

from holdfast.apps.identity.access.rules import PERSONAL, write_carried
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Answer, Api, worker
from holdfast.apps.identity.tests.authenticator_app import (
    TOTP_PATH,
    add_app,
    forget_steps,
    sign_up_verified,
)
from holdfast.apps.identity.tests.lanes import keep_closed

STEP_UP = "/api/v1/auth/step-up"
FREE_FAILURES = 5
AT_ONCE = 200


async def step_up(api: Api, account: Account, **proofs: str) -> Answer:
    return await api.call("POST", STEP_UP, proofs, token=account.access)


async def touch_factors(api: Api, token: str) -> Answer:
    """Something that needs a fresh proof."""
    return await api.call("POST", TOTP_PATH, token=token)


async def grow_stale(db: asyncpg.Connection) -> None:
    """Ten minutes go by; before a worker has read the session, as SQL by hand wakes nobody."""
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '601 seconds'")


async def test_step_up_on_one_worker_makes_the_session_fresh_on_the_other(
    environ: dict[str, str], db: asyncpg.Connection
) -> None:
    async with (
        worker(environ) as (url, _),
        worker(environ) as (other_url, _),
        Api.at(url) as api,
        Api.at(other_url) as other,
    ):
        account = await sign_up_verified(api, db)
        await grow_stale(db)
        for asked in (api, other):
            refused = await touch_factors(asked, account.access)
            assert refused.status == 401
            assert 'error="insufficient_user_authentication"' in refused.headers["WWW-Authenticate"]
            assert 'max_age="600"' in refused.headers["WWW-Authenticate"]
            assert (await asked.me(account)).status == 200
        renewed = await step_up(api, account, password=account.password)
        assert renewed.status == 200
        for token in (account.access, renewed.data["access_token"]):
            assert (await touch_factors(other, token)).status == 200
            assert (await touch_factors(api, token)).status == 200


async def test_step_up_answers_an_access_token_with_the_new_time(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    await grow_stale(db)
    renewed = await step_up(api, account, password=account.password)
    assert renewed.data.keys() == {"access_token", "token_type", "expires_in"}
    before, after = claims(account.access), claims(renewed.data["access_token"])
    stored = await db.fetchval("SELECT authenticated_at FROM sessions")
    assert after["auth_time"] == int(stored.timestamp())
    assert (after["sid"], after["sub"], after["aud"]) == (
        before["sid"],
        before["sub"],
        before["aud"],
    )
    refreshed = await api.refresh(account.refresh)
    assert claims(refreshed.data["access_token"])["auth_time"] == after["auth_time"]
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'session.stepped_up'")


async def test_step_up_with_an_authenticator_app_needs_both_proofs(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    alone = await step_up(api, account, password=account.password)
    assert (alone.status, alone.body["type"]) == (401, "/problems/second-factor-required")
    assert alone.body["methods"] == ["totp", "recovery_code"]
    assert "ticket" not in alone.body
    code_alone = await step_up(api, account, code=app.code())
    assert (code_alone.status, code_alone.body["type"]) == (401, "/problems/password-required")
    wrong = await step_up(api, account, password="not it", code=app.code())
    assert wrong.status == 401
    wrong = await step_up(api, account, password=account.password, code=app.wrong_code())
    assert wrong.status == 401
    both = await step_up(api, account, password=account.password, code=app.code())
    assert both.status == 200
    assert claims(both.data["access_token"])["amr"] == ["otp", "pwd"]


async def test_step_up_takes_a_recovery_code_once(api: Api, db: asyncpg.Connection) -> None:
    account = await sign_up_verified(api, db)
    code = (await add_app(api, db, account)).recovery_codes[0]
    proofs = {"password": account.password, "code": code}
    assert (await step_up(api, account, **proofs)).status == 200
    assert (await step_up(api, account, **proofs)).status == 401


async def test_step_up_without_a_password_asks_for_what_there_is(
    api: Api, db: asyncpg.Connection
) -> None:
    """An account that was opened by a social login or a passkey."""
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    await db.execute("DELETE FROM credentials")
    assert (await step_up(api, account)).body["type"] == "/problems/second-factor-required"
    assert (await step_up(api, account, code=app.code())).status == 200
    await forget_steps(db)
    guessed = await step_up(api, account, password=PASSWORD, code=app.code())
    assert guessed.status == 401
    await db.execute("DELETE FROM totp_secrets")
    refused = await step_up(api, account, password=PASSWORD)
    assert (refused.status, refused.body["type"]) == (403, "/problems/nothing-to-prove-by")


async def test_step_up_checks_no_more_parallel_passwords_than_the_limit(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await sign_up_verified(api, db)
    guesses = (step_up(api, account, password=f"guess {i}") for i in range(AT_ONCE))
    counted = Counter(answer.status for answer in await asyncio.gather(*guesses))
    assert counted == {401: FREE_FAILURES, 429: AT_ONCE - FREE_FAILURES}
    # They are the account's failures, wherever the next attempt is made.
    assert (await api.login(account.email)).status == 429
    assert await db.fetchval("SELECT authenticated_at < now() FROM sessions")


async def test_step_up_counts_wrong_codes_with_those_of_sign_ins(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    proofs = {"password": account.password, "code": app.wrong_code()}
    for _ in range(FREE_FAILURES):
        assert (await step_up(api, account, **proofs)).status == 401
    delayed = await step_up(api, account, password=account.password, code=app.code())
    assert delayed.status == 429
    outcomes = await db.fetch("SELECT outcome FROM login_history WHERE outcome <> 'succeeded'")
    assert Counter(row["outcome"] for row in outcomes) == {
        "wrong_second_factor": FREE_FAILURES,
        "delayed": 1,
    }


async def test_step_up_takes_one_code_once_of_many_at_once(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    await db.execute("DELETE FROM credentials")  # so that the code is all that is asked for
    proofs = {"code": app.code()}
    answers = await asyncio.gather(*(step_up(api, account, **proofs) for _ in range(AT_ONCE)))
    counted = Counter(answer.status for answer in answers)
    assert counted[200] == 1
    assert counted.keys() <= {200, 401, 429}


async def test_step_up_is_not_for_personal_tokens(
    api: Api, db: asyncpg.Connection, here: Identity
) -> None:
    account = await sign_up_verified(api, db)
    token = await personal_token(db, here)
    assert (await api.me(token)).data["email"] == account.email
    refused = await api.call("POST", STEP_UP, {"password": account.password}, token=token)
    assert refused.status == 403
    assert (await touch_factors(api, token)).status == 403


async def test_step_up_is_not_for_ended_sessions(api: Api) -> None:
    account = await api.sign_up()
    await api.call("POST", "/api/v1/auth/logout", token=account.access)
    assert (await step_up(api, account, password=account.password)).status == 401


@pytest.mark.parametrize("body", [{"password": ""}, {"code": "x" * 65}, {"other": "x"}, [], None])
async def test_step_up_refuses_an_odd_body(api: Api, body: object) -> None:
    account = await api.sign_up()
    assert (await api.call("POST", STEP_UP, body, token=account.access)).status == 422


async def personal_token(db: asyncpg.Connection, here: Identity) -> str:
    """A personal access token of the only user, made by hand."""
    expires_at = datetime.now(UTC) + timedelta(days=1)
    token_id = await db.fetchval(
        """INSERT INTO personal_tokens (user_id, name, expires_at)
           SELECT id, 'of a test', $1 FROM users RETURNING id""",
        expires_at,
    )
    return write_carried(PERSONAL, token_id, expires_at, here.secrets)


def claims(token: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(jws.extract_compact(token.encode()).payload)
    return told
