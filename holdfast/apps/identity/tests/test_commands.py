"""What an operator does by hand: rotate and withdraw keys, verify the history, seed a demo."""

import asyncio
import os
import sys

import asyncpg
import pytest

from holdfast.apps.identity.seed import DEMO_ACCOUNTS, DemoRefusedError, seed
from holdfast.apps.identity.tests.api import Api
from holdfast.apps.identity.tests.test_tokens import jwks, opened
from holdfast.core.manifest import apps
from holdfast.core.settings import Settings


async def holdfast(environ: dict[str, str], *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "identity", *words),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_rotate_keys_now_and_withdraw_the_old_one(api: Api, environ: dict[str, str]) -> None:
    account = await api.sign_up()
    old = opened(account.access, 0)["kid"]
    status, said = await holdfast(environ, "rotate-keys", "--now")
    assert status == 0, said
    newer = await api.sign_in(account.email)
    kid = opened(newer.access, 0)["kid"]
    assert kid in said
    assert kid != old
    assert (await api.me(account)).status == 200
    status, said = await holdfast(environ, "withdraw-key", old)
    assert status == 0, said
    assert (await api.me(account)).status == 401
    assert (await api.me(newer)).status == 200
    assert [key["kid"] for key in await jwks(api)] == [kid]


async def test_withdraw_key_that_there_is_not_says_so(api: Api, environ: dict[str, str]) -> None:
    status, said = await holdfast(environ, "withdraw-key", "-e-nobody's")
    assert status == 1
    assert "-e-nobody's" in said
    assert "Traceback" not in said


async def test_keys_sealed_with_another_secret_are_explained(
    api: Api, environ: dict[str, str]
) -> None:
    await api.sign_up()
    other = environ | {"HOLDFAST_SECRET": "another secret than the one they were sealed with"}
    status, said = await holdfast(other, "verify-history")
    assert status == 1
    assert "HOLDFAST_SECRET is not the one" in said
    assert "Traceback" not in said


async def test_verify_history_counts_or_says_where_it_is_broken(
    api: Api, environ: dict[str, str], db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await api.login(account.email, "wrong password")
    status, said = await holdfast(environ, "verify-history")
    assert (status, said.splitlines()[-1]) == (0, "2 attempts, unbroken.")
    await db.execute("DELETE FROM login_history WHERE position = 2")
    status, said = await holdfast(environ, "verify-history")
    assert status == 1
    assert "missing" in said


async def test_demo_accounts_sign_in_and_seeding_twice_changes_nothing(
    api: Api, settings: Settings
) -> None:
    for _ in range(2):
        assert await seed(settings) == DEMO_ACCOUNTS
    for demo in DEMO_ACCOUNTS:
        me = await api.me(await api.sign_in(demo.email, demo.password))
        assert demo.role in me.data["roles"]
        asked_for = {name for app in apps() for name in app.permissions}
        assert (asked_for <= set(me.data["permissions"])) is (demo.role == "admin")


async def test_demo_accounts_are_refused_in_production(
    environ: dict[str, str], db: asyncpg.Connection
) -> None:
    production = environ | {
        "HOLDFAST_PROFILE": "production",
        "HOLDFAST_LIMITS": "on",
        "HOLDFAST_ORIGIN": "https://id.example.com",
    }
    with pytest.raises(DemoRefusedError):
        await seed(Settings.load(production))
    assert await db.fetchval("SELECT count(*) FROM users") == 0
