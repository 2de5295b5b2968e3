"""Looking after other people's accounts: by those who may do at least as much, on every worker."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from holdfast.apps.identity.login.rules import second_factor_lanes
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.tests.api import Account, Answer, Api
from holdfast.apps.identity.tests.conftest import SECRET
from holdfast.apps.identity.tests.lanes import keep_closed

USERS = "/api/v1/admin/users"
NOBODY = "00000000-0000-0000-0000-000000000000"
ACTIONS = [("PUT", "/ban"), ("DELETE", "/ban"), ("DELETE", "/lock"), ("DELETE", "")]


async def id_of(api: Api, account: Account) -> str:
    return str((await api.me(account)).data["id"])


async def act(api: Api, actor: Account, method: str, user_id: str, what: str = "") -> Answer:
    body: dict[str, Any] | None = {} if method == "PUT" else None
    return await api.call(method, f"{USERS}/{user_id}{what}", body, token=actor.access)


async def ban(api: Api, actor: Account, user_id: str, reason: str | None = None) -> Answer:
    body = {"reason": reason}
    return await api.call("PUT", f"{USERS}/{user_id}/ban", body, token=actor.access)


async def unban(api: Api, actor: Account, user_id: str) -> Answer:
    return await act(api, actor, "DELETE", user_id, "/ban")


async def with_permissions(
    api: Api, db: asyncpg.Connection, role: str, *permissions: str
) -> Account:
    """Somebody new with a role of their own."""
    account = await api.sign_up()
    await db.execute("INSERT INTO roles VALUES ($1, '')", role)
    await db.execute(
        "INSERT INTO role_permissions SELECT $1, unnest($2::text[])", role, permissions
    )
    await db.execute(
        "INSERT INTO user_roles SELECT id, $2 FROM users WHERE email = $1", account.email, role
    )
    return await api.sign_in(account.email)


async def make_service(db: asyncpg.Connection) -> str:
    return str(
        await db.fetchval("INSERT INTO users (email, service) VALUES (NULL, true) RETURNING id")
    )


async def test_ban_user_ends_every_session_on_every_worker(
    api: Api, other: Api, admin: Account
) -> None:
    account = await api.sign_up()
    user_id, elsewhere = await id_of(api, account), await api.sign_in(account.email)
    for session in (account, elsewhere):
        assert (await other.me(session)).status == 200
    assert (await ban(api, admin, user_id)).status == 204
    for session in (account, elsewhere):
        assert (await other.me(session)).status == (await api.me(session)).status == 401
        assert (await other.refresh(session.refresh)).status == 401


async def test_ban_user_tells_why_to_whoever_knows_the_password(api: Api, admin: Account) -> None:
    account = await api.sign_up()
    user_id = await id_of(api, account)
    for reason in ("Sends advertisements.", "Sent threats, too."):
        assert (await ban(api, admin, user_id, reason)).status == 204
        refused = await api.login(account.email)
        assert refused.status == 403
        assert reason in refused.body["detail"]
    stranger = await api.login(account.email, "not the password")
    assert stranger.status == 401
    assert "Sent threats" not in str(stranger.body)


async def test_ban_user_is_seen_by_those_who_look_after_accounts(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    user_id = await id_of(api, account)
    await ban(api, admin, user_id, "Sends advertisements.")
    shown = (await act(api, admin, "GET", user_id)).data
    assert (shown["banned"], shown["ban_reason"]) == (True, "Sends advertisements.")
    assert shown["banned_at"] is not None
    event = await db.fetchval("SELECT payload->>'user_id' FROM outbox WHERE type = 'user.banned'")
    assert event == user_id


async def test_ban_user_racing_logins_and_refreshes_leaves_nothing_that_works(
    api: Api, other: Api, admin: Account
) -> None:
    account = await api.sign_up()
    user_id = await id_of(api, account)
    coming = [asyncio.create_task(w.login(account.email)) for w in (api, other) for _ in "12"]
    coming += [
        asyncio.create_task(w.refresh(account.refresh)) for w in (api, other) for _ in range(10)
    ]
    await asyncio.sleep(0.03)
    assert (await ban(api, admin, user_id)).status == 204
    answers = await asyncio.gather(*coming)
    assert {answer.status for answer in answers} <= {200, 401, 403}
    got_in = [answer.data for answer in answers if answer.status == 200]
    for _ in range(2):
        for tokens in got_in:
            assert (await other.me(tokens["access_token"])).status == 401
            assert (await other.refresh(tokens["refresh_token"])).status == 401
        # Nor does anything that slipped in meanwhile come to life when the ban is lifted.
        assert (await unban(api, admin, user_id)).status == 204
    assert (await api.login(account.email)).status == 200


async def test_ban_user_by_two_administrators_of_each_other_leaves_one(
    api: Api, other: Api, admin: Account, db: asyncpg.Connection
) -> None:
    second = await api.sign_up()
    ids = [await id_of(api, admin), await id_of(api, second)]
    await db.execute("INSERT INTO user_roles VALUES ($1, 'admin')", UUID(ids[1]))
    second = await api.sign_in(second.email)
    assert (await other.me(second)).status == 200
    answers = await asyncio.gather(ban(api, admin, ids[1]), ban(other, second, ids[0]))
    assert sorted(answer.status for answer in answers) in ([204, 401], [204, 403])
    assert await db.fetchval("SELECT count(*) FROM users WHERE banned_at IS NOT NULL") == 1


@pytest.mark.parametrize(("method", "what"), [("PUT", "/ban"), ("DELETE", "")])
async def test_ban_user_and_delete_user_leave_the_last_admin(
    api: Api, admin: Account, db: asyncpg.Connection, method: str, what: str
) -> None:
    """Somebody who may do everything by another role, or a banned admin, is no admin."""
    everything = await db.fetchval("SELECT array_agg(name) FROM permissions")
    rival = await with_permissions(api, db, "rival", *everything)
    await db.execute("INSERT INTO users (email, banned_at) VALUES ('banned@example.com', now())")
    await db.execute(
        "INSERT INTO user_roles SELECT id, 'admin' FROM users WHERE email = 'banned@example.com'"
    )
    user_id = await id_of(api, admin)
    assert (await act(api, rival, method, user_id, what)).status == 409
    assert (await api.me(admin)).status == 200
    await db.execute("UPDATE users SET banned_at = NULL")
    assert (await act(api, rival, method, user_id, what)).status == 204
    assert (await api.me(admin)).status == 401


@pytest.mark.parametrize(("method", "what"), ACTIONS)
async def test_nobody_acts_on_themselves_on_nobody_or_on_whoever_may_do_more(
    api: Api, admin: Account, db: asyncpg.Connection, method: str, what: str
) -> None:
    moderator = await with_permissions(api, db, "moderator", "users:write")
    assert (await act(api, moderator, method, await id_of(api, moderator), what)).status == 403
    assert (await act(api, admin, method, await id_of(api, admin), what)).status == 403
    assert (await act(api, moderator, method, NOBODY, what)).status == 404
    assert (await act(api, moderator, method, "me", what)).status == 422
    above = await act(api, moderator, method, await id_of(api, admin), what)
    assert above.status == 403
    assert "users:read" in above.body["detail"]
    colleague = await with_permissions(api, db, "support", "history:read")
    assert (await act(api, moderator, method, await id_of(api, colleague), what)).status == 403
    ordinary = await api.sign_up()
    assert (await act(api, moderator, method, await id_of(api, ordinary), what)).status == 204
    assert (await api.me(admin)).status == (await api.me(colleague)).status == 200


async def test_ban_user_refuses_what_is_not_acceptable(api: Api, admin: Account) -> None:
    user_id = await id_of(api, await api.sign_up())
    for body in ({"reason": ""}, {"reason": "r" * 201}, {"reason": "nul\0"}, {"until": "never"}):
        answer = await api.call("PUT", f"{USERS}/{user_id}/ban", body, token=admin.access)
        assert answer.status == 422
    assert not (await act(api, admin, "GET", user_id)).data["banned"]


async def test_ban_user_reaches_a_service_account(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    service = await make_service(db)
    assert (await ban(api, admin, service)).status == 204
    assert await db.fetchval("SELECT banned_at FROM users WHERE id = $1", UUID(service)) is not None


async def test_whoever_acts_may_do_so_by_the_tables_and_not_by_any_cache(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    """A change by hand reaches no cache: the guard still lets them pass."""
    user_id = await id_of(api, await api.sign_up())
    assert (await act(api, admin, "GET", user_id)).status == 200
    await db.execute("UPDATE users SET banned_at = now() WHERE email = $1", admin.email)
    assert (await act(api, admin, "GET", user_id)).status == 200
    for method, what in (*ACTIONS, ("POST", "/logout"), ("PUT", "/roles/admin")):
        assert (await act(api, admin, method, user_id, what)).status == 403, what


async def test_unban_user_lets_its_owner_sign_in_again(api: Api, admin: Account) -> None:
    account = await api.sign_up()
    user_id = await id_of(api, account)
    await ban(api, admin, user_id, "A mistake.")
    for _ in range(2):
        assert (await unban(api, admin, user_id)).status == 204
    assert (await api.me(account)).status == 401
    assert (await api.me(await api.sign_in(account.email))).status == 200
    shown = (await act(api, admin, "GET", user_id)).data
    assert (shown["banned"], shown["banned_at"], shown["ban_reason"]) == (False, None, None)


async def test_unlock_user_forgets_failures_of_password_and_second_factor(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account, neighbour = await api.sign_up(), await api.sign_up()
    user_id = await id_of(api, account)
    lanes = second_factor_lanes(UUID(user_id), Secrets(SECRET))
    await db.execute("INSERT INTO login_lanes VALUES ($1, $2, 9, now())", lanes, UUID(int=0))
    for email in (account.email, neighbour.email):
        for _ in range(5):
            assert (await api.login(email, "wrong")).status == 401
        await api.login(email, "wrong")
        assert (await api.login(email)).status == 429
    assert (await act(api, admin, "DELETE", user_id, "/lock")).status == 204
    assert (await api.login(account.email)).status == 200
    assert (await api.login(neighbour.email)).status == 429
    assert await db.fetchval("SELECT count(*) FROM login_lanes WHERE account = $1", lanes) == 0


async def test_log_out_user_ends_all_sessions_of_one_account(
    api: Api, other: Api, admin: Account
) -> None:
    account, neighbour = await api.sign_up(), await api.sign_up()
    sessions = [account, await api.sign_in(account.email), await api.sign_in(account.email)]
    user_id = await id_of(api, account)
    for session in sessions:
        assert (await other.me(session)).status == 200
    answer = await act(api, admin, "POST", user_id, "/logout")
    assert (answer.status, answer.data) == (200, {"ended": 3})
    for session in sessions:
        assert (await other.me(session)).status == 401
    assert (await other.me(neighbour)).status == (await other.me(admin)).status == 200
    assert (await act(api, admin, "POST", NOBODY, "/logout")).status == 404
    assert (await api.me(await api.sign_in(account.email))).status == 200


async def test_list_user_sessions_shows_where_somebody_is_signed_in(
    api: Api, admin: Account
) -> None:
    account = await api.sign_up()
    api.headers = {"User-Agent": "Pocket Radio/3"}
    await api.sign_in(account.email)
    user_id = await id_of(api, account)
    listed = await act(api, admin, "GET", user_id, "/sessions")
    assert [session["current"] for session in listed.data] == [False, False]
    assert listed.data[0]["device"] == "Pocket Radio/3"
    assert (await act(api, admin, "GET", NOBODY, "/sessions")).data == []


async def test_delete_user_leaves_nothing_that_works(
    api: Api, other: Api, admin: Account, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    user_id = await id_of(api, account)
    assert (await other.me(account)).status == 200
    assert (await act(api, admin, "DELETE", user_id)).status == 204
    assert (await other.me(account)).status == (await other.refresh(account.refresh)).status == 401
    assert (await api.login(account.email)).status == 401
    assert (await act(api, admin, "GET", user_id)).status == 404
    assert (await act(api, admin, "DELETE", user_id)).status == 404
    told = await db.fetchval("SELECT recipient FROM mails WHERE template = 'account_deleted'")
    assert told == account.email


async def test_delete_user_is_for_people_and_not_for_services(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    service = await make_service(db)
    assert (await act(api, admin, "DELETE", service)).status == 404
    assert await db.fetchval("SELECT count(*) FROM users WHERE service") == 1


async def test_list_users_of_a_role_or_banned(api: Api, admin: Account) -> None:
    banned, ordinary = await api.sign_up(), await api.sign_up()
    await ban(api, admin, await id_of(api, banned))

    async def emails(query: str) -> set[str]:
        listed = await api.call("GET", f"{USERS}?{query}", token=admin.access)
        assert listed.status == 200, listed.body
        return {user["email"] for user in listed.data}

    assert await emails("banned=true") == {banned.email}
    assert await emails("banned=false") == {ordinary.email, admin.email}
    assert await emails("role=admin") == {admin.email}
    assert await emails("role=user&banned=true") == {banned.email}
    assert await emails("role=ghost") == set()


async def test_show_user_tells_what_they_may(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    account = await with_permissions(api, db, "support", "history:read", "users:read")
    shown = (await act(api, admin, "GET", await id_of(api, account))).data
    assert shown["roles"] == ["support", "user"]
    assert shown["permissions"] == ["history:read", "users:read"]
    assert (shown["email_verified"], shown["second_factor"]) == (False, False)


async def test_looking_after_accounts_is_closed_to_ordinary_users(api: Api) -> None:
    account, victim = await api.sign_up(), await api.sign_up()
    user_id = await id_of(api, victim)
    calls = [
        *ACTIONS,
        ("GET", ""),
        ("POST", "/logout"),
        ("GET", "/sessions"),
        ("PUT", "/roles/admin"),
    ]
    for method, what in calls:
        assert (await act(api, account, method, user_id, what)).status == 403, what
        assert (await api.call(method, f"{USERS}/{user_id}{what}")).status == 401, what
    assert (await api.me(victim)).status == 200
