"""Introspection tells the truth of this moment, and at no cost when warm; revocation ends only one's own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from holdfast.apps.identity.access import jobs
from holdfast.apps.identity.keys.actions import withdraw_key
from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Account, Api, served
from holdfast.apps.identity.tests.relying_party import (
    CLIENTS,
    Browser,
    RelyingParty,
    send_form,
    userinfo,
)
from holdfast.core.settings import Settings
from holdfast.core.web import build

INTROSPECT = "/api/v1/auth/introspect"
REVOKE = "/api/v1/auth/revoke"
INACTIVE = {"active": False}


@pytest.fixture
async def person(api: Api) -> Account:
    return await api.sign_up("ada@example.com")


@pytest.fixture
async def party(api: Api, admin: Account, person: Account, settings: Settings) -> RelyingParty:
    browser = Browser(api, settings.origin)
    await browser.sign_in(person)
    return await RelyingParty.made(api, admin, browser)


@pytest.fixture
async def limited(environ: dict[str, str]) -> AsyncIterator[Api]:
    """A worker that counts requests."""
    settings = Settings.load(environ | {"HOLDFAST_LIMITS": "on"})
    async with served(build(settings, service(settings, Options()))) as url, Api.at(url) as api:
        yield api


@pytest.fixture
async def other_party(party: RelyingParty, admin: Account) -> RelyingParty:
    return await RelyingParty.made(party.api, admin, party.browser, trusted=False)


async def make_personal_token(api: Api, db: asyncpg.Connection, email: str, **wanted: Any) -> str:
    await db.execute("UPDATE users SET email_verified_at = now() WHERE email = $1", email)
    account = await api.sign_in(email)
    body = {"name": "script", "expires_in_days": 7} | wanted
    made = await api.call("POST", "/api/v1/users/me/tokens", body, token=account.access)
    assert made.status == 201, made.body
    token: str = made.data["token"]
    return token


async def test_introspect_tells_of_an_access_token_for_the_api(
    party: RelyingParty, api: Api, admin: Account, settings: Settings
) -> None:
    told = await party.introspect(admin.access)
    me = (await api.me(admin)).data
    assert told["active"]
    assert told["sub"] == me["id"]
    assert told["iss"] == settings.origin
    assert told["aud"] == told["client_id"] == "holdfast"
    assert told["scope"].split() == me["permissions"]
    assert told["exp"] > told["iat"]
    assert "email" not in told


async def test_introspect_tells_of_a_clients_tokens(
    party: RelyingParty, other_party: RelyingParty, settings: Settings
) -> None:
    tokens = await party.tokens()
    told = await other_party.introspect(tokens["access_token"])
    assert (told["active"], told["client_id"]) == (True, party.id)
    assert told["aud"] == settings.origin
    assert told["scope"] == "openid profile email offline_access"
    refresh = await party.introspect(tokens["refresh_token"])
    assert (refresh["active"], refresh["client_id"]) == (True, party.id)
    assert refresh["exp"] > told["exp"]
    assert "token_type" not in refresh
    assert await other_party.introspect(tokens["refresh_token"]) == INACTIVE


async def test_introspect_tells_only_clients_of_our_own_about_our_own_refresh_tokens(
    party: RelyingParty, other_party: RelyingParty, person: Account, api: Api
) -> None:
    assert (await party.introspect(person.refresh))["active"]
    assert await other_party.introspect(person.refresh) == INACTIVE
    successor = (await api.refresh(person.refresh)).data["refresh_token"]
    assert await party.introspect(person.refresh) == INACTIVE
    assert (await party.introspect(successor))["active"]


async def test_introspect_tells_of_a_personal_token_what_it_permits(
    party: RelyingParty, api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    token = await make_personal_token(api, db, admin.email, scopes=["users:read"])
    told = await party.introspect(token)
    assert (told["active"], told["scope"]) == (True, "users:read")
    assert told["sub"] == (await api.me(admin)).data["id"]


async def test_introspect_knows_at_the_next_question_what_has_ended_on_another_worker(
    party: RelyingParty, api: Api, other: Api, admin: Account, person: Account
) -> None:
    user_id = (await api.me(person)).data["id"]
    tokens = await party.tokens()
    held = (person.access, person.refresh, tokens["access_token"], tokens["refresh_token"])
    for token in held:
        assert (await party.introspect(token, api=other))["active"]
    path = f"/api/v1/admin/users/{user_id}/ban"
    assert (await api.call("PUT", path, {"reason": "spam"}, token=admin.access)).status == 204
    for token in held:
        assert await party.introspect(token, api=other) == INACTIVE


async def test_introspect_knows_at_the_next_question_that_a_role_was_taken(
    party: RelyingParty, api: Api, other: Api, admin: Account, person: Account
) -> None:
    user_id = (await api.me(person)).data["id"]
    path = f"/api/v1/admin/users/{user_id}/roles/admin"
    await api.call("PUT", path, token=admin.access)
    assert "users:read" in (await party.introspect(person.access, api=other))["scope"]
    await api.call("DELETE", path, token=admin.access)
    assert (await party.introspect(person.access, api=other))["scope"] == ""


async def test_introspect_knows_at_the_next_question_that_a_key_was_withdrawn(
    party: RelyingParty, here: Identity, person: Account
) -> None:
    tokens = await party.tokens()
    for token in (person.access, tokens["access_token"]):
        assert (await party.introspect(token))["active"]
    [key] = await here.keys.published()
    await withdraw_key(here.lease, key["kid"])
    for token in (person.access, tokens["access_token"]):
        assert await party.introspect(token) == INACTIVE


async def test_introspect_says_nothing_of_what_is_no_token(
    party: RelyingParty, api: Api, person: Account
) -> None:
    id_token = (await party.tokens())["id_token"]
    odd = ("x", "hfr_", "hfp_", "hfp_" + "A" * 60, "hfr_" + "A" * 200, "위키", "x" * 9000)
    for token in (*odd, id_token, person.access[:-1], person.access + "x", person.refresh[:-1]):
        assert await party.introspect(token) == INACTIVE
    none = await party.send(INTROSPECT, {})
    assert (none.status, none.body["error"]) == (400, "invalid_request")


async def test_introspect_answers_only_clients_that_prove_themselves(
    party: RelyingParty, api: Api, admin: Account, person: Account
) -> None:
    public = await RelyingParty.made(api, admin, party.browser, confidential=False)
    for told in ({}, {"client_id": public.id}, {"client_id": party.id}):
        answer = await send_form(api, INTROSPECT, {"token": person.access, **told})
        assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    by_token = await api.call(
        "POST",
        INTROSPECT,
        data=f"token={person.access}".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        token=admin.access,
    )
    assert by_token.status == 401


async def test_a_client_that_guesses_is_slowed_down_and_one_that_knows_is_not(
    limited: Api, party: RelyingParty, person: Account
) -> None:
    wrong = {"client_id": party.id, "client_secret": "guessed", "token": person.access}
    guesses = (send_form(limited, INTROSPECT, wrong) for _ in range(25))
    counted = Counter(answer.status for answer in await asyncio.gather(*guesses))
    assert counted.keys() == {401, 429}
    assert counted[401] >= 20
    for _ in range(30):
        assert (await party.introspect(person.access, api=limited))["active"]


@pytest.fixture
def unnoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was seen is written now and then, and for no request: not while statements are counted."""
    monkeypatch.setattr(jobs, "EVERY_S", 3600)


@pytest.mark.usefixtures("unnoted")  # before the worker starts
async def test_a_warm_introspection_asks_neither_database_nor_redis(
    party: RelyingParty, db: asyncpg.Connection, redis_url: str, admin: Account, person: Account
) -> None:
    token = (await party.tokens())["access_token"]
    await db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    statements = """SELECT coalesce(sum(calls), 0)::bigint FROM public.pg_stat_statements s
        JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = current_database() AND query NOT LIKE '%epoch_%'"""
    for warm in (token, person.access):
        assert (await party.introspect(warm))["active"]
    async with Redis.from_url(redis_url) as redis:

        async def commands() -> int:
            stats = await redis.info("commandstats")
            return sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info")

        before = (await db.fetchval(statements), await commands())
        own = (await db.fetchval(statements), await commands())
        for _ in range(10):
            answers = await asyncio.gather(
                *(party.introspect(warm) for warm in (token, person.access) for _ in range(20))
            )
            assert all(answer["active"] for answer in answers)
        after = (await db.fetchval(statements), await commands())
    # Counting is itself a statement: it differs as much without any request in between.
    assert after[0] - own[0] == own[0] - before[0]
    assert after[1] == own[1]


async def test_a_client_that_is_gone_learns_nothing_any_more(
    party: RelyingParty, api: Api, other: Api, admin: Account, person: Account
) -> None:
    assert (await party.introspect(person.access, api=other))["active"]
    deleted = await api.call("DELETE", f"{CLIENTS}/{party.id}", token=admin.access)
    assert deleted.status == 204
    refused = await party.send(INTROSPECT, {"token": person.access}, api=other)
    assert refused.status == 401


@pytest.mark.parametrize("given_back", ["access_token", "refresh_token"])
async def test_revoke_ends_the_session_of_a_clients_own_token_on_every_worker(
    party: RelyingParty, api: Api, other: Api, given_back: str
) -> None:
    tokens = await party.tokens()
    assert (await userinfo(other, tokens["access_token"])).status == 200
    answer = await party.revoke(tokens[given_back])
    assert (answer.status, answer.body) == (200, None)
    for worker in (other, api):
        assert (await userinfo(worker, tokens["access_token"])).status == 401
        assert await party.introspect(tokens["refresh_token"], api=worker) == INACTIVE
    assert (await party.refresh(tokens["refresh_token"])).status == 400
    assert (await party.revoke(tokens[given_back])).status == 200


async def test_revoke_takes_a_refresh_token_that_has_a_successor_already(
    party: RelyingParty, api: Api
) -> None:
    tokens = await party.tokens()
    successor = (await party.refresh(tokens["refresh_token"])).body
    assert (await party.revoke(tokens["refresh_token"])).status == 200
    assert (await party.refresh(successor["refresh_token"])).status == 400
    assert (await userinfo(api, successor["access_token"])).status == 401


async def test_revoke_ends_nothing_of_anybody_else(
    party: RelyingParty,
    other_party: RelyingParty,
    api: Api,
    person: Account,
) -> None:
    tokens = await party.tokens()
    for token in (tokens["access_token"], tokens["refresh_token"], person.access, person.refresh):
        refused = await other_party.revoke(token)
        assert (refused.status, refused.body["error"]) == (400, "invalid_grant")
    assert (await userinfo(api, tokens["access_token"])).status == 200
    assert (await party.refresh(tokens["refresh_token"])).status == 200
    assert (await api.me(person)).status == 200
    assert (await api.refresh(person.refresh)).status == 200


async def test_revoke_leaves_personal_tokens_to_their_owner(
    party: RelyingParty, api: Api, person: Account, db: asyncpg.Connection
) -> None:
    personal = await make_personal_token(api, db, person.email)
    refused = await party.revoke(personal)
    assert refused.body["error"] == "unsupported_token_type"
    assert (await api.me(personal)).status == 200


async def test_revoke_needs_nothing_to_do_for_what_is_no_token(
    party: RelyingParty, api: Api
) -> None:
    for token in ("x", "hfr_x", "a.b.c", "hfr_" + "A" * 80):
        assert (await party.revoke(token)).status == 200
    assert (await send_form(api, REVOKE, {"token": "x"})).status == 401
    assert (await party.send(REVOKE, {})).body["error"] == "invalid_request"


async def test_revoke_is_open_to_an_app_without_a_secret_for_its_own_tokens(
    party: RelyingParty, api: Api, admin: Account
) -> None:
    app = await RelyingParty.made(api, admin, party.browser, confidential=False)
    tokens = await app.tokens()
    assert (await app.revoke(tokens["refresh_token"])).status == 200
    assert (await userinfo(api, tokens["access_token"])).status == 401


async def test_a_service_accounts_token_is_told_and_given_back_as_any_other(
    party: RelyingParty, api: Api, admin: Account
) -> None:
    service = await RelyingParty.made(
        api, admin, party.browser, scopes=["users:read"], service_account=True
    )
    token = (await service.act()).body["access_token"]
    told = await party.introspect(token)
    assert (told["active"], told["sub"]) == (True, service.service_user)
    assert (await service.revoke(token)).status == 200
    assert (await api.me(token)).status == 401
