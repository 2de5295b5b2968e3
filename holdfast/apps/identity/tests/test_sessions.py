"""Sessions: listed, ended one by one, all at once, and many in one round trip."""

from uuid import uuid4

import asyncpg

from holdfast.apps.identity.tests.api import Account, Api

PATH = "/api/v1/users/me/sessions"


async def test_logout_ends_this_session_only(api: Api) -> None:
    account = await api.sign_up()
    elsewhere = await api.sign_in(account.email)
    assert (await api.me(account)).status == 200
    answer = await api.call("POST", "/api/v1/auth/logout", token=account.access)
    assert (answer.status, answer.body) == (204, None)
    assert (await api.me(account)).status == 401
    assert (await api.refresh(account.refresh)).status == 401
    assert (await api.me(elsewhere)).status == 200


async def test_logout_again_is_unauthenticated(api: Api) -> None:
    account = await api.sign_up()
    assert (await api.call("POST", "/api/v1/auth/logout", token=account.access)).status == 204
    assert (await api.call("POST", "/api/v1/auth/logout", token=account.access)).status == 401


async def test_logout_all_ends_every_session_of_the_user(api: Api) -> None:
    account, other = await api.sign_up(), await api.sign_up()
    sessions = [account, *[await api.sign_in(account.email) for _ in range(3)]]
    answer = await api.call("POST", "/api/v1/auth/logout-all", token=account.access)
    assert answer.data == {"ended": 4}
    for session in sessions:
        assert (await api.me(session)).status == 401
    assert (await api.me(other)).status == 200


async def test_logout_tells_others_by_an_event(api: Api, db: asyncpg.Connection) -> None:
    account = await api.sign_up()
    await api.call("POST", "/api/v1/auth/logout", token=account.access)
    events = await db.fetch(
        "SELECT payload->>'session_id' FROM outbox WHERE type = $1", "session.revoked"
    )
    assert len(events) == 1


async def test_list_sessions_shows_each_with_its_device(api: Api) -> None:
    account = await api.sign_up()
    api.headers = {"User-Agent": "Pocket Radio/3"}
    elsewhere = await api.sign_in(account.email)
    answer = await api.call("GET", PATH, token=elsewhere.access)
    assert [session["current"] for session in answer.data] == [True, False]
    assert answer.data[0]["device"] == "Pocket Radio/3"
    assert answer.data[0]["ip"] == "127.0.0.1"


async def test_list_sessions_by_pages(api: Api) -> None:
    account = await api.sign_up()
    for _ in range(4):
        await api.sign_in(account.email)
    first = await api.call("GET", f"{PATH}?limit=3", token=account.access)
    rest = await api.call(
        "GET", f"{PATH}?limit=3&cursor={first.body['next_cursor']}", token=account.access
    )
    ids = [session["id"] for session in first.data + rest.data]
    assert (len(first.data), len(rest.data), len(set(ids))) == (3, 2, 5)
    assert rest.body["next_cursor"] is None


async def test_end_session_of_mine(api: Api) -> None:
    account = await api.sign_up()
    elsewhere = await api.sign_in(account.email)
    listed = await api.call("GET", PATH, token=account.access)
    other = next(session for session in listed.data if not session["current"])
    path = f"{PATH}/{other['id']}"
    assert (await api.call("DELETE", path, token=account.access)).status == 204
    assert (await api.me(elsewhere)).status == 401
    assert (await api.me(account)).status == 200
    assert (await api.call("DELETE", path, token=account.access)).status == 404


async def test_end_session_of_somebody_else_is_not_found(api: Api) -> None:
    account, other = await api.sign_up(), await api.sign_up()
    theirs = await api.call("GET", PATH, token=other.access)
    path = f"{PATH}/{theirs.data[0]['id']}"
    assert (await api.call("DELETE", path, token=account.access)).status == 404
    assert (await api.me(other)).status == 200


async def test_revoke_sessions_many_in_one_statement(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await db.execute(
        """INSERT INTO sessions (user_id, expires_at, ip, device)
           SELECT s.user_id, s.expires_at, s.ip, s.device
           FROM sessions s JOIN users u ON u.id = s.user_id, generate_series(1, 998)
           WHERE u.email = $1""",
        account.email,
    )
    made = await db.fetch(
        "SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.email = $1",
        account.email,
    )
    assert (await api.me(account)).status == 200
    ids = [*(str(id_) for (id_,) in made), str(uuid4())]
    body = {"session_ids": ids}
    answer = await api.call("POST", "/api/v1/admin/sessions/revoke", body, token=admin.access)
    assert answer.data == {"ended": 999}
    assert (await api.me(account)).status == 401
    assert (await api.me(admin)).status == 200


async def test_revoke_sessions_is_for_those_who_may(api: Api, admin: Account) -> None:
    account = await api.sign_up()
    path = "/api/v1/admin/sessions/revoke"
    body = {"session_ids": [str(uuid4())]}
    assert (await api.call("POST", path, body, token=account.access)).status == 403
    for wrong in ([], ["x"], [str(uuid4())] * 1001):
        answer = await api.call("POST", path, {"session_ids": wrong}, token=admin.access)
        assert answer.status == 422
