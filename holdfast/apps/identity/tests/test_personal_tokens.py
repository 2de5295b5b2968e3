"""Personal access tokens: what a script may do, and everything that takes it away again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from holdfast.apps.identity.access.rules import BROWSER, PERSONAL, read_carried, write_carried
from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.personal_tokens.actions import MOST, end_user_tokens
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.sessions.actions import end_user_sessions
from holdfast.apps.identity.tests.api import PASSWORD, Account, Answer, Api, served
from holdfast.apps.identity.tests.conftest import SECRET
from holdfast.apps.identity.tests.post import letters_to, ticket_in
from holdfast.core import epochs
from holdfast.core.settings import Settings
from holdfast.core.web import build

PATH = "/api/v1/users/me/tokens"
USERS = "/api/v1/admin/users"
ROLES = "/api/v1/admin/roles"
SECRETS = Secrets(SECRET)


@pytest.fixture
async def owner(api: Api, db: asyncpg.Connection) -> Account:
    return await verified(api, db, (await api.sign_up()).email)


async def verified(api: Api, db: asyncpg.Connection, email: str) -> Account:
    await db.execute("UPDATE users SET email_verified_at = now() WHERE email = $1", email)
    return await api.sign_in(email)


async def make(api: Api, account: Account, **wanted: Any) -> Answer:
    body = {"name": "Backup", "expires_in_days": 30, **wanted}
    return await api.call("POST", PATH, body, token=account.access)


async def made(api: Api, account: Account, **wanted: Any) -> str:
    answer = await make(api, account, **wanted)
    assert answer.status == 201, answer.body
    return str(answer.data["token"])


def id_of(token: str) -> UUID:
    found = read_carried(PERSONAL, token, SECRETS)
    assert found
    return found


async def test_create_token_answers_one_that_acts_for_its_owner(api: Api, owner: Account) -> None:
    answer = await make(api, owner, name="Nightly backup")
    assert answer.status == 201
    token = answer.data["token"]
    assert token.startswith("hfp_")
    assert (answer.data["name"], answer.data["scopes"]) == ("Nightly backup", None)
    me, mine = await api.me(token), await api.me(owner)
    assert (me.status, me.body) == (200, mine.body)


async def test_create_token_tells_its_text_to_nobody_again(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    token = await made(api, owner)
    listed = await api.call("GET", PATH, token=owner.access)
    kept = [
        await db.fetch("SELECT * FROM personal_tokens"),
        await db.fetch("SELECT * FROM mails"),
        await db.fetch("SELECT * FROM audit_log"),
        await db.fetch("SELECT * FROM outbox"),
    ]
    assert token[4:] not in f"{listed.body}{kept}"


async def test_create_token_tells_its_owner_by_mail_and_in_the_log(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    await made(api, owner, name="Backup")
    mail = await db.fetchrow("SELECT * FROM mails WHERE template = 'token_created'")
    assert mail is not None
    assert (mail["recipient"], mail["facts"]) == (owner.email, '{"name": "Backup"}')
    activity = await api.call("GET", "/api/v1/users/me/activity", token=owner.access)
    newest = activity.data[0]
    assert (newest["action"], newest["by"]) == ("token.created", "you")


async def test_create_token_needs_a_verified_address_and_a_fresh_proof(
    api: Api, db: asyncpg.Connection
) -> None:
    stranger = await api.sign_up()
    assert (await make(api, stranger)).status == 403
    owner = await verified(api, db, stranger.email)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    stale = await make(api, owner)
    assert stale.status == 401
    assert "insufficient_user_authentication" in stale.headers["WWW-Authenticate"]
    assert await db.fetchval("SELECT count(*) FROM personal_tokens") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "n" * 101},
        {"name": "nul\0"},
        {"expires_in_days": 0},
        {"expires_in_days": 366},
        {"scopes": ["everything"]},
        {"scopes": ["ghosts:see"]},
        {"user_id": "0199a8f1-02d7-7e10-8b35-c4d2a9e6f001"},
    ],
    ids=str,
)
async def test_create_token_refuses_what_is_not_acceptable(
    api: Api, owner: Account, db: asyncpg.Connection, wrong: dict[str, Any]
) -> None:
    answer = await make(api, owner, **wrong)
    assert answer.status == 422
    assert answer.body["errors"][0]["field"].split(".")[0] == next(iter(wrong))
    assert await db.fetchval("SELECT count(*) FROM personal_tokens") == 0
    assert await db.fetchval("SELECT count(*) FROM mails WHERE template = 'token_created'") == 0


async def test_create_token_gives_no_permission_that_its_owner_lacks(
    api: Api, owner: Account
) -> None:
    answer = await make(api, owner, scopes=["users:read"])
    assert answer.status == 403
    assert "users:read" in answer.body["detail"]


async def test_create_token_gives_as_many_as_one_may_have_also_at_once(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    await db.execute(
        """INSERT INTO personal_tokens (user_id, name, expires_at)
           SELECT u.id, 'old', now() + make_interval(days => n) FROM users u,
             generate_series(-4, $2) n WHERE u.email = $1""",
        owner.email,
        MOST - 2,
    )
    answers = await asyncio.gather(*(make(api, owner) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [201, 201, 409, 409, 409]
    assert await db.fetchval("SELECT count(*) FROM personal_tokens") == MOST


async def test_create_token_while_everything_of_its_owner_ends_leaves_none(
    api: Api, here: Identity, owner: Account
) -> None:
    """What a password reset does: whoever is making a token is done before it, or refused."""
    user_id = UUID((await api.me(owner)).data["id"])
    making = [asyncio.create_task(make(api, owner)) for _ in range(10)]
    await asyncio.sleep(0.02)
    async with epochs.change(here.lease) as change:
        await end_user_sessions(change, user_id)
        await end_user_tokens(change, user_id)
    answers = await asyncio.gather(*making)
    assert {answer.status for answer in answers} <= {201, 401}
    for answer in answers:
        if answer.status == 201:
            assert (await api.me(answer.data["token"])).status == 401


async def test_a_token_does_what_its_scopes_say_and_no_more(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    admin = await verified(api, db, admin.email)
    token = await made(api, admin, scopes=["users:read"])
    assert (await api.me(token)).data["permissions"] == ["users:read"]
    assert (await api.call("GET", USERS, token=token)).status == 200
    assert (await api.call("GET", ROLES, token=token)).status == 403
    nothing = await made(api, admin, scopes=[])
    assert (await api.me(nothing)).data["permissions"] == []
    assert (await api.call("GET", USERS, token=nothing)).status == 403


async def test_a_token_gives_nothing_that_is_beyond_its_scopes(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    admin = await verified(api, db, admin.email)
    friend = (await api.me(await api.sign_up())).data["id"]
    assigner = await made(api, admin, scopes=["roles:assign"])
    writer = await made(api, admin, scopes=["roles:write"])
    path = f"{USERS}/{friend}/roles/admin"
    assert (await api.call("PUT", path, token=assigner)).status == 403
    body = {"name": "spies", "permissions": ["users:read"]}
    assert (await api.call("POST", ROLES, body, token=writer)).status == 403
    assert (await api.call("PUT", path, token=admin.access)).status == 204


async def test_a_role_that_its_owner_loses_is_lost_to_a_token_warm_on_another_worker(
    api: Api, other: Api, admin: Account, owner: Account, db: asyncpg.Connection
) -> None:
    user_id = (await api.me(owner)).data["id"]
    body = {"name": "support", "permissions": ["users:read"]}
    await api.call("POST", ROLES, body, token=admin.access)
    path = f"{USERS}/{user_id}/roles/support"
    await api.call("PUT", path, token=admin.access)
    tokens = [await made(api, owner), await made(api, owner, scopes=["users:read"])]
    for _ in range(10):
        assert (await api.call("PUT", path, token=admin.access)).status == 204
        for token in tokens:
            assert (await other.call("GET", USERS, token=token)).status == 200
        assert (await api.call("DELETE", path, token=admin.access)).status == 204
        for token in tokens:
            assert (await other.call("GET", USERS, token=token)).status == 403


async def test_a_token_is_accepted_in_one_spelling_only(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    token = await made(api, owner)
    assert (await api.me(token)).status == 200
    session_id = await db.fetchval("SELECT id FROM sessions LIMIT 1")
    soon = datetime.now(UTC) + timedelta(days=1)
    last = token[-1]
    forged = [
        token + "=",
        token + "==",
        token[:-1],
        token + "A",
        " " + token,
        token.replace("hfp_", "HFP_"),
        token.replace("hfp_", "hfs_"),
        token.replace("hfp_", "hfp_hfp_"),
        token[4:],
        token.upper(),
        *(token[:-1] + letter for letter in "AQgwBCDE" if letter != last),
        token[:10] + ("A" if token[10] != "A" else "B") + token[11:],
        write_carried(BROWSER, id_of(token), soon, SECRETS),
        write_carried(PERSONAL, id_of(token), soon, Secrets("another secret, also long enough")),
        write_carried(BROWSER, session_id, soon, SECRETS),
        "hfp_",
        "hfp_é",
        "hfp_" + "A" * 4000,
    ]
    for text in forged:
        assert (await api.me(text)).status == 401, text
    assert (await api.refresh(token)).status == 401


async def test_a_token_ends_with_its_time(api: Api, owner: Account, db: asyncpg.Connection) -> None:
    token = await made(api, owner)
    ago = datetime.now(UTC) - timedelta(seconds=1)
    assert (await api.me(write_carried(PERSONAL, id_of(token), ago, SECRETS))).status == 401
    await db.execute("UPDATE personal_tokens SET expires_at = now() - interval '1 second'")
    assert (await api.me(token)).status == 401
    assert (await api.call("GET", PATH, token=owner.access)).data == []


async def test_list_tokens_shows_ones_own_by_pages(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    somebody = await verified(api, db, (await api.sign_up()).email)
    await made(api, somebody, name="theirs")
    for name in ("first", "second", "third"):
        await made(api, owner, name=name)
    page = await api.call("GET", f"{PATH}?limit=2", token=owner.access)
    cursor = page.body["next_cursor"]
    rest = await api.call("GET", f"{PATH}?limit=2&cursor={cursor}", token=owner.access)
    names = [token["name"] for token in page.data + rest.data]
    assert names == ["third", "second", "first"]


async def test_revoke_token_holds_on_a_worker_where_it_is_warm(
    api: Api, other: Api, owner: Account
) -> None:
    for _ in range(10):
        token = await made(api, owner)
        assert (await other.me(token)).status == 200
        path = f"{PATH}/{id_of(token)}"
        assert (await api.call("DELETE", path, token=owner.access)).status == 204
        assert (await other.me(token)).status == 401
        assert (await api.me(token)).status == 401
        assert (await api.call("DELETE", path, token=owner.access)).status == 404


async def test_revoke_token_of_somebody_else_is_not_found(
    api: Api, owner: Account, admin: Account
) -> None:
    token = await made(api, owner)
    stranger = await api.sign_up()
    for account in (stranger, admin):
        answer = await api.call("DELETE", f"{PATH}/{id_of(token)}", token=account.access)
        assert answer.status == 404
    assert (await api.me(token)).status == 200


async def test_a_ban_stops_a_token_everywhere_and_its_end_lets_it_work_again(
    api: Api, other: Api, admin: Account, owner: Account
) -> None:
    token = await made(api, owner)
    path = f"{USERS}/{(await api.me(owner)).data['id']}/ban"
    for _ in range(3):
        assert (await other.me(token)).status == 200
        assert (await api.call("PUT", path, {}, token=admin.access)).status == 204
        assert (await other.me(token)).status == (await api.me(token)).status == 401
        assert (await api.call("DELETE", path, token=admin.access)).status == 204
        assert (await other.me(token)).status == (await api.me(token)).status == 200


async def test_a_token_does_nothing_that_needs_a_person(
    api: Api, owner: Account, db: asyncpg.Connection
) -> None:
    token = await made(api, owner)
    session_id = await db.fetchval("SELECT id FROM sessions ORDER BY id DESC LIMIT 1")
    calls = [
        ("POST", PATH, {"name": "more", "expires_in_days": 1}),
        ("GET", PATH, None),
        ("DELETE", f"{PATH}/{id_of(token)}", None),
        ("POST", "/api/v1/auth/logout", None),
        ("POST", "/api/v1/auth/logout-all", None),
        ("DELETE", f"/api/v1/users/me/sessions/{session_id}", None),
        ("PATCH", "/api/v1/users/me", {"name": "Mallory"}),
        (
            "POST",
            "/api/v1/users/me/password",
            {"current_password": PASSWORD, "new_password": "a new and better one"},
        ),
        ("GET", "/api/v1/users/me/export", None),
        ("DELETE", "/api/v1/users/me", None),
    ]
    for method, path, body in calls:
        answer = await api.call(method, path, body, token=token)
        assert answer.status == 403, path
        assert "Sign in yourself" in answer.body["detail"]
    assert (await api.me(owner)).data["name"] is None
    assert (await api.me(token)).status == 200


async def test_a_token_outlives_the_sessions_and_the_password_of_its_owner(
    api: Api, owner: Account
) -> None:
    token = await made(api, owner)
    body = {"current_password": PASSWORD, "new_password": "a new and better one"}
    await api.call("POST", "/api/v1/users/me/password", body, token=owner.access)
    assert (await api.me(owner)).status == 401
    assert (await api.me(token)).status == 200


async def test_a_token_does_not_outlive_a_password_that_was_reset_by_mail(
    api: Api, other: Api, here: Identity, owner: Account, db: asyncpg.Connection
) -> None:
    token = await made(api, owner)
    assert (await other.me(token)).status == 200
    await api.call("POST", "/api/v1/auth/reset", {"email": owner.email})
    ticket = ticket_in((await letters_to(here, db, owner.email))["reset_requested"])
    body = {"ticket": ticket, "new_password": "a new and better one"}
    assert (await api.call("POST", "/api/v1/auth/reset/confirm", body)).status == 204
    assert (await other.me(token)).status == 401


async def test_when_a_token_was_last_used_is_noted_at_the_latest_when_its_worker_ends(
    settings: Settings, options: Options, api: Api, owner: Account
) -> None:
    used, unused = await made(api, owner, name="used"), await made(api, owner, name="unused")
    before = datetime.now(UTC)
    async with served(build(settings, service(settings, options))) as url, Api.at(url) as another:
        assert (await another.me(used)).status == 200
    listed = {
        token["id"]: token["last_used_at"]
        for token in (await api.call("GET", PATH, token=owner.access)).data
    }
    assert listed[str(id_of(unused))] is None
    assert datetime.fromisoformat(listed[str(id_of(used))]) >= before
