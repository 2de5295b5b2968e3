"""Refreshing: rotation, the lost answer, reuse, and races with everything that ends a session."""

import asyncio

import asyncpg
import pytest

from holdfast.apps.identity.options import Options
from holdfast.apps.identity.sessions.queries import UPDATE_REFRESH_TOKENS_USED
from holdfast.apps.identity.tests.api import PASSWORD, Api

LIVE = "SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL"
AGE = "UPDATE refresh_tokens SET used_at = used_at - interval '1 hour' WHERE used_at IS NOT NULL"


async def test_refresh_rotates_and_the_new_tokens_work(api: Api) -> None:
    account = await api.sign_up()
    first = await api.refresh(account.refresh)
    assert first.status == 200
    assert first.data["refresh_token"] != account.refresh
    assert (await api.me(first.data["access_token"])).status == 200
    second = await api.refresh(first.data["refresh_token"])
    assert second.status == 200


async def test_refresh_after_a_lost_answer_gives_the_same_successor(api: Api) -> None:
    account = await api.sign_up()
    lost = await api.refresh(account.refresh)
    again = await api.refresh(account.refresh)
    assert again.status == 200
    assert again.data["refresh_token"] == lost.data["refresh_token"]


async def test_refresh_of_one_token_fifty_times_at_once_leaves_one_live_successor(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    answers = await asyncio.gather(*(api.refresh(account.refresh) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.data["refresh_token"] for answer in answers}) == 1
    assert await db.fetchval(LIVE) == 1


async def test_refresh_with_an_old_token_ends_the_family_and_its_access_tokens(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    stolen = await api.refresh(account.refresh)
    await db.execute(AGE)
    assert (await api.refresh(account.refresh)).status == 401
    assert (await api.refresh(stolen.data["refresh_token"])).status == 401
    assert (await api.me(stolen.data["access_token"])).status == 401
    assert (await api.me(account)).status == 401
    assert (await api.me(await api.sign_in(account.email))).status == 200


@pytest.mark.parametrize("end", ["logout", "logout-all", "password"])
async def test_refresh_racing_the_end_of_its_session_mints_nothing_that_works(
    api: Api, end: str
) -> None:
    account = await api.sign_up()
    refreshing = [asyncio.create_task(api.refresh(account.refresh)) for _ in range(20)]
    if end == "password":
        body = {"current_password": PASSWORD, "new_password": "a new and better one"}
        ended = await api.call("POST", "/api/v1/users/me/password", body, token=account.access)
    else:
        ended = await api.call("POST", f"/api/v1/auth/{end}", token=account.access)
    assert ended.status in {200, 204}
    for answer in await asyncio.gather(*refreshing):
        if answer.status == 200:
            assert (await api.me(answer.data["access_token"])).status == 401
            assert (await api.refresh(answer.data["refresh_token"])).status == 401


async def test_refresh_refuses_what_it_has_not_written(api: Api, db: asyncpg.Connection) -> None:
    account = await api.sign_up()
    flipped = account.refresh[:-1] + ("A" if account.refresh[-1] != "A" else "B")
    forged = [flipped, account.refresh + "=", account.refresh[4:], account.access[:150], "x", "ü"]
    for token in forged:
        answer = await api.refresh(token)
        assert answer.status == 401, token
    assert (await api.refresh("h" * 201)).status == 422
    assert await db.fetchval(LIVE) == 1


async def test_refresh_tokens_are_no_access_tokens_and_the_other_way_round(api: Api) -> None:
    account = await api.sign_up()
    assert (await api.me(account.refresh)).status == 401
    assert (await api.refresh(account.access)).status in {401, 422}


class TestExpiry:
    @pytest.fixture
    def options(self, options: Options) -> Options:
        return options.model_copy(update={"refresh_ttl_s": 1})  # shorter than it may be

    async def test_refresh_after_the_absolute_expiry_is_refused(self, api: Api) -> None:
        account = await api.sign_up()
        await asyncio.sleep(2)
        assert (await api.refresh(account.refresh)).status == 401
        assert (await api.me(account)).status == 401


async def test_refresh_looks_its_token_up_in_one_small_index(
    api: Api, db: asyncpg.Connection
) -> None:
    await api.sign_up()
    row = await db.fetchrow("SELECT hash, expires_at FROM refresh_tokens")
    assert row is not None
    await db.execute("VACUUM ANALYZE refresh_tokens")
    await db.execute("SET enable_seqscan = off")
    plan = await db.fetch(
        """EXPLAIN SELECT session_id FROM refresh_tokens
           WHERE hash = $1 AND expires_at = $2 AND used_at IS NULL""",
        row["hash"],
        row["expires_at"],
    )
    lines = [line for (line,) in plan]
    assert "Index Only Scan" in lines[0], lines
    assert sum("Scan" in line for line in lines) == 1, lines


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_refresh_scans_no_table_however_little_is_known_of_it(
    api: Api, db: asyncpg.Connection, mode: str
) -> None:
    await api.sign_up()
    await db.execute(
        """INSERT INTO refresh_tokens (hash, expires_at, session_id)
           SELECT sha256(n::text::bytea), expires_at, session_id
           FROM refresh_tokens, generate_series(1, 5000) n"""
    )
    await db.execute(f"SET plan_cache_mode = {mode}")
    tokens = await db.fetch("SELECT hash, expires_at FROM refresh_tokens LIMIT 32")
    hashes = [token["hash"] for token in tokens]
    expiries = [token["expires_at"] for token in tokens]
    plan = [
        line
        for (line,) in await db.fetch(
            f"EXPLAIN (ANALYZE) {UPDATE_REFRESH_TOKENS_USED}",
            *(hashes, expiries, [None] * len(hashes), hashes),
        )
    ]
    executed = [line for line in plan if "Scan" in line and "never executed" not in line]
    assert any("Index Scan using refresh_tokens" in line for line in executed), plan
    assert not any("Seq Scan" in line for line in executed), plan
