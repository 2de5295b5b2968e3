"""Authenticator apps and recovery codes: added, used once, renewed, removed."""

import asyncio
import re
from collections import Counter
from uuid import UUID

import asyncpg
import pytest

from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.second_factor import rules
from holdfast.apps.identity.second_factor.actions import WrongCodeError, use_code
from holdfast.apps.identity.tests.api import Account, Api
from holdfast.apps.identity.tests.authenticator_app import (
    TOTP_PATH,
    App,
    add_app,
    first_step,
    forget_steps,
    second_step,
    sign_up_verified,
    start_app,
)

FACTORS = "/api/v1/users/me/factors"
RECOVERY_CODES = "/api/v1/users/me/recovery-codes"
AT_ONCE = 200
RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("at_s", "code"),
    [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2e10, "353130")],
)
def test_codes_are_those_of_rfc_6238(at_s: float, code: str) -> None:
    assert rules.matching_step(RFC_SECRET, code, at_s) == at_s // 30


@pytest.mark.parametrize(
    ("late_s", "counts"), [(-31, False), (-30, True), (0, True), (59, True), (60, False)]
)
def test_a_code_counts_one_step_early_and_one_late(late_s: int, *, counts: bool) -> None:
    step = 1_111_111_109 // 30
    matching = rules.matching_step(RFC_SECRET, "081804", step * 30 + late_s)
    assert matching == (step if counts else None)


def test_a_recovery_code_is_long_and_reads_in_one_way_only() -> None:
    codes = {code for _ in range(50) for code in rules.make_recovery_codes()}
    assert len(codes) == 500
    assert all(re.fullmatch("[2-9A-HJ-NP-Z]{4}(-[2-9A-HJ-NP-Z]{4}){3}", code) for code in codes)
    assert len(rules.LETTERS) == len(set(rules.LETTERS)) == 32  # 16 letters of 5 bits: 80 bits


async def factors(api: Api, account: Account) -> dict[str, object]:
    answer = await api.call("GET", FACTORS, token=account.access)
    assert answer.status == 200
    told: dict[str, object] = answer.data
    return told


async def test_show_factors_tells_what_there_is(api: Api, db: asyncpg.Connection) -> None:
    account = await sign_up_verified(api, db)
    nothing = {"password": True, "totp": False, "recovery_codes_left": 0, "passkeys": 0}
    assert await factors(api, account) == nothing
    await start_app(api, account)
    assert await factors(api, account) == nothing
    await add_app(api, db, account)
    assert await factors(api, account) == nothing | {"totp": True, "recovery_codes_left": 10}


async def test_start_totp_tells_an_app_all_it_needs(api: Api, db: asyncpg.Connection) -> None:
    account = await sign_up_verified(api, db)
    answer = await api.call("POST", TOTP_PATH, token=account.access)
    secret = answer.data["secret"]
    assert re.fullmatch("[A-Z2-7]{32}", secret)  # 160 bits
    address = account.email.replace("@", "%40")
    assert answer.data["uri"].startswith(f"otpauth://totp/Holdfast:{address}?")
    for part in (f"secret={secret}", "issuer=Holdfast", "digits=6", "period=30", "algorithm=SHA1"):
        assert part in answer.data["uri"]


async def test_start_totp_changes_nothing_before_a_first_code(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    await start_app(api, account)
    assert (await api.login(account.email)).status == 200


async def test_start_totp_replaces_only_an_unconfirmed_one(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    former = await start_app(api, account)
    assert (await start_app(api, account)).secret != former.secret
    body = {"code": former.code()}
    assert (await api.call("PUT", TOTP_PATH, body, token=account.access)).status == 422
    app = await add_app(api, db, account)
    assert (await api.call("POST", TOTP_PATH, token=account.access)).status == 409
    entered = await second_step(api, await first_step(api, account), app.code())
    assert entered.status == 200


async def test_start_totp_needs_a_verified_address(api: Api) -> None:
    account = await api.sign_up()
    refused = await api.call("POST", TOTP_PATH, token=account.access)
    assert (refused.status, refused.body["type"]) == (403, "/problems/unverified-email")
    assert await factors(api, account) == await factors(api, account) | {"totp": False}


async def test_start_totp_keeps_the_secret_sealed_and_bound_to_its_user(
    api: Api, db: asyncpg.Connection, here: Identity
) -> None:
    account = await sign_up_verified(api, db)
    app = await start_app(api, account)
    [row] = await db.fetch("SELECT user_id, sealed FROM totp_secrets")
    opened = rules.unseal(row["sealed"], row["user_id"], here.secrets)
    assert rules.readable(opened) == app.secret
    assert opened not in row["sealed"]
    with pytest.raises(rules.SealedOtherwiseError, match="HOLDFAST_SECRET"):
        rules.unseal(row["sealed"], UUID(int=1), here.secrets)


async def test_confirm_totp_shows_ten_recovery_codes_and_keeps_only_hashes(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    assert len(set(app.recovery_codes)) == 10
    stored = await db.fetch("SELECT hash FROM recovery_codes")
    assert [len(row["hash"]) for row in stored] == [32] * 10
    assert await told(db) == (["totp_added"], ["totp.added"])


async def test_confirm_totp_refuses_a_wrong_code_and_what_was_not_started(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    body = {"code": "123456"}
    assert (await api.call("PUT", TOTP_PATH, body, token=account.access)).status == 409
    app = await start_app(api, account)
    for code in (app.wrong_code(), "x", "１２３４５６"):  # noqa: RUF001 - digits that are not ASCII
        wrong = await api.call("PUT", TOTP_PATH, {"code": code}, token=account.access)
        assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, "code")
    assert (await factors(api, account))["totp"] is False
    assert await told(db) == ([], [])


async def test_confirm_totp_happens_once_of_many_at_once(api: Api, db: asyncpg.Connection) -> None:
    account = await sign_up_verified(api, db)
    app = await start_app(api, account)
    body = {"code": app.code()}
    answers = await asyncio.gather(
        *(api.call("PUT", TOTP_PATH, body, token=account.access) for _ in range(20))
    )
    assert Counter(answer.status for answer in answers) == {200: 1, 409: 19}
    assert await db.fetchval("SELECT count(*) FROM recovery_codes") == 10
    # The code by which it was confirmed signs nobody in.
    assert (await second_step(api, await first_step(api, account), body["code"])).status == 401


async def test_remove_totp_lets_the_password_sign_in_alone_again(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    ticket = await first_step(api, account)
    assert (await api.call("DELETE", TOTP_PATH, token=account.access)).status == 204
    assert (await api.call("DELETE", TOTP_PATH, token=account.access)).status == 404
    assert (await api.login(account.email)).status == 200
    for code in (app.code(), app.recovery_codes[0]):
        assert (await second_step(api, ticket, code)).status == 401
    assert (await factors(api, account))["recovery_codes_left"] == 0
    mails, actions = await told(db)
    assert mails == ["totp_added", "totp_removed"]
    assert actions == ["totp.added", "totp.removed"]


async def test_renew_recovery_codes_ends_the_old_ones(api: Api, db: asyncpg.Connection) -> None:
    account = await sign_up_verified(api, db)
    assert (await api.call("POST", RECOVERY_CODES, token=account.access)).status == 409
    app = await add_app(api, db, account)
    renewed = await api.call("POST", RECOVERY_CODES, token=account.access)
    codes = renewed.data["recovery_codes"]
    assert len({*codes, *app.recovery_codes}) == 20
    ticket = await first_step(api, account)
    assert (await second_step(api, ticket, app.recovery_codes[0])).status == 401
    assert (await second_step(api, ticket, codes[0])).status == 200


async def test_renew_recovery_codes_many_times_at_once_leaves_ten(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    await add_app(api, db, account)
    calls = (api.call("POST", RECOVERY_CODES, token=account.access) for _ in range(20))
    assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
    assert (await factors(api, account))["recovery_codes_left"] == 10


@pytest.mark.parametrize("kind", ["an app's code", "a recovery code"])
async def test_one_code_is_used_once_of_many_at_once(
    api: Api, db: asyncpg.Connection, here: Identity, kind: str
) -> None:
    """Without lanes and tickets before it, which would let fewer through."""
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    user_id = await db.fetchval("SELECT user_id FROM totp_secrets")
    code = app.code() if kind == "an app's code" else app.recovery_codes[0]

    async def use() -> bool:
        try:
            async with here.db.transaction() as connection:
                await use_code(connection, here.secrets, user_id, code)
        except WrongCodeError:
            return False
        return True

    assert sum(await asyncio.gather(*(use() for _ in range(AT_ONCE)))) == 1
    assert await use() is False


async def test_a_step_before_the_last_used_one_is_refused(api: Api, db: asyncpg.Connection) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    await db.execute(
        "UPDATE totp_secrets SET last_step = floor(extract(epoch FROM now()) / 30) + 1"
    )
    ticket = await first_step(api, account)
    assert (await second_step(api, ticket, app.code())).status == 401
    await forget_steps(db)
    assert (await second_step(api, ticket, app.code())).status == 200


async def test_a_recovery_code_may_be_written_as_people_do(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    first, second, other = app.recovery_codes[:3]
    for code in (first.lower(), f" {second.replace('-', ' ')} ", other.replace("-", "")):
        assert (await second_step(api, await first_step(api, account), code)).status == 200
    assert (await factors(api, account))["recovery_codes_left"] == 7
    mails, actions = await told(db)
    assert mails == ["totp_added"] + ["recovery_code_used"] * 3
    assert actions == ["totp.added"] + ["recovery_code.used"] * 3
    left = await db.fetch(
        "SELECT facts ->> 'codes_left' FROM mails WHERE template = 'recovery_code_used' ORDER BY id"
    )
    assert [row[0] for row in left] == ["9", "8", "7"]


async def test_a_recovery_code_of_another_account_is_worth_nothing(
    api: Api, db: asyncpg.Connection
) -> None:
    account, other = await sign_up_verified(api, db), await sign_up_verified(api, db)
    await add_app(api, db, account)
    others: App = await add_app(api, db, other)
    ticket = await first_step(api, account)
    assert (await second_step(api, ticket, others.recovery_codes[0])).status == 401
    assert (await factors(api, other))["recovery_codes_left"] == 10


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", TOTP_PATH, None),
        ("PUT", TOTP_PATH, {"code": "123456"}),
        ("DELETE", TOTP_PATH, None),
        ("POST", RECOVERY_CODES, None),
    ],
)
async def test_a_found_laptop_changes_no_factor(
    api: Api, db: asyncpg.Connection, method: str, path: str, body: object
) -> None:
    account = await sign_up_verified(api, db)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    refused = await api.call(method, path, body, token=account.access)
    assert (refused.status, refused.body["type"]) == (401, "/problems/step-up-required")
    assert "insufficient_user_authentication" in refused.headers["WWW-Authenticate"]


async def told(db: asyncpg.Connection) -> tuple[list[str], list[str]]:
    """The mails about factors that were written, and what the audit log says of them."""
    mails = await db.fetch(
        "SELECT template FROM mails WHERE template ~ 'totp|recovery' ORDER BY id"
    )
    audit = await db.fetch(
        "SELECT action FROM audit_log WHERE action ~ 'totp|recovery' ORDER BY id"
    )
    return [row["template"] for row in mails], [row["action"] for row in audit]
