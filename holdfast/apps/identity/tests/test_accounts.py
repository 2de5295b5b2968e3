"""Accounts: register, see and change oneself, change the password; admins see all."""

import asyncio

import asyncpg
import pytest

from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Api
from holdfast.apps.identity.tests.lanes import keep_closed
from holdfast.apps.identity.tests.post import letters_to


async def test_register_then_sign_in(api: Api) -> None:
    body = {"email": "Ada@Example.com", "password": PASSWORD, "name": "Ada"}
    answer = await api.call("POST", "/api/v1/auth/register", body)
    assert (answer.status, answer.data) == (201, {"email": "ada@example.com"})
    account = await api.sign_in("ADA@example.COM")
    me = await api.me(account)
    assert (me.data["email"], me.data["name"], me.data["roles"]) == (
        "ada@example.com",
        "Ada",
        ["user"],
    )


async def test_register_of_a_taken_address_answers_the_same_and_changes_nothing(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    body = {"email": account.email, "password": "another password entirely"}
    again = await api.call("POST", "/api/v1/auth/register", body)
    fresh = await api.call("POST", "/api/v1/auth/register", {**body, "email": "new@example.com"})
    assert again.status == fresh.status == 201
    assert again.data == {"email": account.email}
    assert again.body.keys() == fresh.body.keys()
    assert (await api.login(account.email, "another password entirely")).status == 401
    assert (await api.login(account.email)).status == 200
    letters = await letters_to(here, db, account.email)
    assert letters["register_repeated"].link is None


async def test_register_takes_the_language_that_its_browser_prefers(api: Api) -> None:
    api.headers["Accept-Language"] = "ko-KR, en;q=0.5"
    assert (await api.me(await api.sign_up())).data["language"] == "ko"


async def test_register_refuses_a_weak_password_for_known_and_unknown_alike(api: Api) -> None:
    account = await api.sign_up()
    answers = [
        await api.call("POST", "/api/v1/auth/register", {"email": email, "password": "a" * 20})
        for email in (account.email, "nobody@example.com")
    ]
    assert [answer.status for answer in answers] == [422, 422]
    assert answers[0].body == answers[1].body


async def test_register_many_at_once_makes_one_account(api: Api, db: asyncpg.Connection) -> None:
    body = {"email": "race@example.com", "password": PASSWORD}
    answers = await asyncio.gather(
        *(api.call("POST", "/api/v1/auth/register", body) for _ in range(10))
    )
    assert {answer.status for answer in answers} == {201}
    assert await db.fetchval("SELECT count(*) FROM users WHERE email = 'race@example.com'") == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no address"),
        ("email", "a@b"),
        ("email", "x" * 250 + "@example.com"),
        ("email", "nul\0@example.com"),
        ("email", 7),
        ("password", "short"),
        ("password", "p" * 1025),
        ("password", "ü" * 513),
        ("password", None),
        ("name", ""),
        ("name", "n" * 101),
        ("role", "admin"),
    ],
)
async def test_register_refuses_what_is_not_acceptable(
    api: Api, db: asyncpg.Connection, field: str, value: object
) -> None:
    body = {"email": "fine@example.com", "password": PASSWORD, field: value}
    answer = await api.call("POST", "/api/v1/auth/register", body)
    assert answer.status == 422
    assert [error["field"] for error in answer.body["errors"]] == [field]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert PASSWORD not in str(answer.body)
    assert await db.fetchval("SELECT count(*) FROM users") == 0


async def test_register_refuses_malformed_and_oversized_bodies(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    path = "/api/v1/auth/register"
    malformed = await api.call("POST", path, data=b'{"email": ', headers=headers)
    oversized = await api.call("POST", path, data=b"x" * 1_000_000, headers=headers)
    assert (malformed.status, oversized.status) == (400, 413)


async def test_show_me_needs_an_access_token(api: Api) -> None:
    for headers in ({}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer "}):
        answer = await api.call("GET", "/api/v1/users/me", headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_change_me_is_seen_at_once(api: Api) -> None:
    account = await api.sign_up()
    assert (await api.me(account)).data["name"] is None
    body = {"name": "Grace"}
    changed = await api.call("PATCH", "/api/v1/users/me", body, token=account.access)
    assert (changed.status, changed.data["name"]) == (200, "Grace")
    assert (await api.me(account)).body == changed.body


async def test_change_me_changes_only_what_is_given(api: Api) -> None:
    account = await api.sign_up()
    for body, name, language in (
        ({"name": "Grace"}, "Grace", "en"),
        ({"language": "ko"}, "Grace", "ko"),
        ({"name": None, "language": "en"}, None, "en"),
    ):
        answer = await api.call("PATCH", "/api/v1/users/me", body, token=account.access)
        assert (answer.data["name"], answer.data["language"]) == (name, language)
    wrong: tuple[object, ...] = ({}, {"language": "de"}, {"language": ""}, [])
    for refused in wrong:
        answer = await api.call("PATCH", "/api/v1/users/me", refused, token=account.access)
        assert answer.status == 422


async def test_change_me_assigns_nothing_else(api: Api) -> None:
    account = await api.sign_up()
    for extra in ({"role": "admin"}, {"email": "other@example.com"}, {"id": "1"}):
        body = {"name": "Grace", **extra}
        answer = await api.call("PATCH", "/api/v1/users/me", body, token=account.access)
        assert answer.status == 422
    assert (await api.me(account)).data["name"] is None


async def test_change_password_ends_every_session(api: Api) -> None:
    account = await api.sign_up()
    elsewhere = await api.sign_in(account.email)
    path = "/api/v1/users/me/password"
    body = {"current_password": PASSWORD, "new_password": "a new and better one"}
    assert (await api.call("POST", path, body, token=account.access)).status == 204
    for session in (account, elsewhere):
        assert (await api.me(session)).status == 401
        assert (await api.refresh(session.refresh)).status == 401
    assert (await api.login(account.email)).status == 401
    assert (await api.login(account.email, "a new and better one")).status == 200


async def test_change_password_needs_the_current_one(api: Api) -> None:
    account = await api.sign_up()
    body = {"current_password": "not this one", "new_password": "a new and better one"}
    answer = await api.call("POST", "/api/v1/users/me/password", body, token=account.access)
    assert answer.status == 403
    assert (await api.me(account)).status == 200


async def test_change_password_guesses_are_delayed_like_sign_ins(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await api.sign_up()
    body = {"current_password": "not this one", "new_password": "a new and better one"}
    answers = [
        await api.call("POST", "/api/v1/users/me/password", body, token=account.access)
        for _ in range(6)
    ]
    assert [answer.status for answer in answers] == [403] * 5 + [429]
    failed = "SELECT count(*) FROM login_history WHERE outcome = 'wrong_password'"
    assert await db.fetchval(failed) == 5


async def test_change_password_refuses_a_weak_one(api: Api) -> None:
    account = await api.sign_up()
    body = {"current_password": PASSWORD, "new_password": f"{account.email}{account.email}"}
    answer = await api.call("POST", "/api/v1/users/me/password", body, token=account.access)
    assert answer.status == 422
    assert [error["field"] for error in answer.body["errors"]] == ["new_password"]
    assert (await api.me(account)).status == 200


async def test_change_password_by_many_at_once_lets_one_win(api: Api) -> None:
    account = await api.sign_up()
    passwords = [f"a new and better one, number {number}" for number in range(4)]
    answers = await asyncio.gather(
        *(
            api.call(
                "POST",
                "/api/v1/users/me/password",
                {"current_password": PASSWORD, "new_password": each},
                token=account.access,
            )
            for each in passwords
        )
    )
    statuses = [answer.status for answer in answers]
    assert statuses.count(204) == 1
    won = passwords[statuses.index(204)]
    assert (await api.login(account.email, won)).status == 200


async def test_list_users_pages_through_all_of_them(api: Api, admin: Account) -> None:
    emails = {(await api.sign_up()).email for _ in range(5)}
    seen: list[str] = []
    path = "/api/v1/admin/users?search=PERSON&limit=2"
    cursor = ""
    while True:
        page = await api.call("GET", path + cursor, token=admin.access)
        assert page.status == 200
        seen += [user["email"] for user in page.data]
        if page.body["next_cursor"] is None:
            break
        cursor = f"&cursor={page.body['next_cursor']}"
    assert len(seen) == len(set(seen))
    assert emails == set(seen)


async def test_list_users_refuses_an_invented_cursor(api: Api, admin: Account) -> None:
    for cursor in ("x", "gqFh", "%00", "é"):
        answer = await api.call("GET", f"/api/v1/admin/users?cursor={cursor}", token=admin.access)
        assert answer.status == 422


async def test_list_users_is_for_those_who_may(api: Api) -> None:
    account = await api.sign_up()
    answer = await api.call("GET", "/api/v1/admin/users", token=account.access)
    assert answer.status == 403
    assert "users:read" in answer.body["detail"]


async def test_show_user_by_id(api: Api, admin: Account) -> None:
    account = await api.sign_up()
    user_id = (await api.me(account)).data["id"]
    path = f"/api/v1/admin/users/{user_id}"
    assert (await api.call("GET", path, token=admin.access)).data["email"] == account.email
    assert (await api.call("GET", path, token=account.access)).status == 403
    nobody = "/api/v1/admin/users/00000000-0000-0000-0000-000000000000"
    assert (await api.call("GET", nobody, token=admin.access)).status == 404
