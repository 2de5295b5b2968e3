"""The admin console without a browser: who sees which page, and what each form does and refuses."""

import ast
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import asyncpg
import pytest
import yaml
from fastapi.routing import APIRoute

from holdfast.apps.identity.console.routes import ENTRANCES, router
from holdfast.apps.identity.tests.api import Api
from holdfast.apps.identity.tests.browser import Browser
from holdfast.core.settings import Settings

FORMS = [
    route.path
    for route in router.routes
    if isinstance(route, APIRoute) and "POST" in (route.methods or ())
]


@pytest.fixture
async def browser(api: Api, settings: Settings, db: asyncpg.Connection) -> Browser:
    """An administrator's."""
    return await someone(api, settings, db, "admin")


async def someone(
    api: Api, settings: Settings, db: asyncpg.Connection, role: str, *permissions: str
) -> Browser:
    """The browser of somebody with a role, which permits what is named if it is a new one."""
    account = await api.sign_up()
    await db.execute("INSERT INTO roles VALUES ($1, '') ON CONFLICT DO NOTHING", role)
    await db.executemany(
        "INSERT INTO role_permissions VALUES ($1, $2)", [(role, each) for each in permissions]
    )
    await db.execute(
        "INSERT INTO user_roles SELECT id, $2 FROM users WHERE email = $1", account.email, role
    )
    return await Browser(api, settings.origin).sign_in(account.email)


async def id_of(db: asyncpg.Connection, email: str) -> UUID:
    found: UUID = await db.fetchval("SELECT id FROM users WHERE email = $1", email)
    return found


async def noted(db: asyncpg.Connection) -> list[str]:
    rows = await db.fetch("SELECT action FROM audit_log ORDER BY id")
    return [row["action"] for row in rows]


def address_in(form: str, **values: Any) -> str:
    """The address of a form, with something at each place that its path leaves open."""
    usual: dict[str, Any] = {
        "user_id": uuid4(),
        "session_id": uuid4(),
        "role": "user",
        "permission": "users:read",
        "client_id": "shop",
    }
    return form.format(**(usual | values))


@pytest.mark.parametrize(("permission", "path"), ENTRANCES.items())
async def test_each_page_needs_its_permission_and_no_other(
    api: Api, settings: Settings, db: asyncpg.Connection, permission: str, path: str
) -> None:
    other = next(each for each in ENTRANCES if each != permission)
    stranger = await someone(api, settings, db, "stranger", other)
    refused = await stranger.get(path)
    assert refused.status == 403
    assert refused.tells("You are not allowed to do this.")
    reader = await someone(api, settings, db, "reader", permission)
    shown = await reader.get(path)
    assert shown.status == 200
    tabs = re.search(r'<nav class="tabs".*?</nav>', shown.text, re.DOTALL)
    assert tabs
    assert re.findall(r'href="([^"]+)"', tabs[0]) == [path]
    assert (await reader.get("/admin")).goes_to == path


async def test_without_a_session_every_page_leads_to_the_entrance(
    api: Api, settings: Settings
) -> None:
    nobody = Browser(api, settings.origin)
    for path in ("/admin", *ENTRANCES.values()):
        shown = await nobody.get(path)
        assert (shown.status, shown.goes_to) == (303, f"/sign-in?{urlencode({'next': path})}")


async def test_who_may_nothing_here_finds_no_way_in(
    api: Api, settings: Settings, db: asyncpg.Connection
) -> None:
    anybody = await someone(api, settings, db, "nothing")
    assert (await anybody.get("/admin")).status == 403
    assert 'href="/admin"' not in (await anybody.get("/account")).text


async def test_who_may_only_read_can_send_no_form(
    api: Api, settings: Settings, db: asyncpg.Connection
) -> None:
    reader = await someone(api, settings, db, "reader", *ENTRANCES, "history:read")
    email = (await api.sign_up()).email
    user_id = await id_of(db, email)
    await db.execute("INSERT INTO clients VALUES ('shop', 'Shop', NULL, '{}', '{}', '{}', false)")
    fields = {"role": "user", "email": email, "name": "orders:x", "permission": "users:read"}
    for form in FORMS:
        refused = await reader.send(address_in(form, user_id=user_id), **fields)
        assert refused.status == 403, form
    assert await noted(db) == []


async def test_a_form_of_another_site_is_refused(
    browser: Browser, api: Api, db: asyncpg.Connection
) -> None:
    user_id = await id_of(db, (await api.sign_up()).email)
    for form in FORMS:
        path = address_in(form, user_id=user_id)
        for origin in ("https://evil.example", "null"):
            refused = await browser.send(path, origin=origin, name="orders:x", role="user")
            assert refused.status == 403, form
            assert refused.tells("This form did not come from a page of this service.")
    assert await noted(db) == []


async def test_users_are_found_by_address_state_and_role(browser: Browser, api: Api) -> None:
    for name in ("ada", "bob"):
        await api.sign_up(f"{name}@people.example")
    shown = await browser.get("/admin/users", search="  ADA@")
    assert shown.tells("ada@people.example")
    assert not shown.tells("bob@people.example")
    assert not (await browser.get("/admin/users", state="banned")).tells("@people.example")
    assert not (await browser.get("/admin/users", role="admin")).tells("@people.example")
    assert (await browser.get("/admin/users", search="nobody")).tells("Nobody fits this.")
    assert (await browser.get("/admin/users", cursor="made up")).status == 422


async def test_users_that_do_not_fit_one_page_are_on_the_next(
    browser: Browser, db: asyncpg.Connection
) -> None:
    await db.executemany(
        "INSERT INTO users (email) VALUES ($1)", [(f"n{i}@many.example",) for i in range(25)]
    )
    first = await browser.get("/admin/users", search="n")
    older = re.search(r'href="(/admin/users\?[^"]+)"[^>]*>Older', first.text)
    assert older
    second = await browser.get(unescape(older[1]))
    both = [re.findall(r"(n\d+@many\.example)</strong>", shown.text) for shown in (first, second)]
    assert [len(page) for page in both] == [20, 5]
    assert len({*both[0], *both[1]}) == 25


async def test_a_ban_signs_out_and_is_lifted(
    browser: Browser, api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    theirs = await Browser(api, browser.origin).sign_in(account.email)
    page = f"/admin/users/{await id_of(db, account.email)}"
    banned = await browser.send(f"{page}/ban", reason="Sent <b>spam</b>")
    assert banned.goes_to == f"{page}?done=banned"
    shown = await browser.get(page, done="banned")
    assert shown.tells("The account is banned.")
    assert "Sent &lt;b&gt;spam&lt;/b&gt;" in shown.text
    assert (await theirs.get("/account")).goes_to.startswith("/sign-in")
    assert (await api.login(account.email)).status == 403
    await browser.send(f"{page}/unban")
    assert (await api.login(account.email)).status == 200
    assert await noted(db) == ["user.banned", "user.unbanned"]


async def test_an_account_that_waits_after_failures_may_try_again(
    browser: Browser, api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    while (await api.login(account.email, "not the password")).status != 429:
        pass
    await browser.send(f"/admin/users/{await id_of(db, account.email)}/unlock")
    assert (await api.login(account.email)).status == 200


async def test_an_account_is_deleted_when_its_address_was_typed(
    browser: Browser, api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    page = f"/admin/users/{await id_of(db, account.email)}"
    refused = await browser.send(f"{page}/delete", email="somebody@else.example")
    assert refused.status == 422
    assert refused.tells("This is not the address of this account.")
    assert (await api.login(account.email)).status == 200
    deleted = await browser.send(f"{page}/delete", email=f" {account.email.upper()}")
    assert deleted.goes_to == "/admin/users?done=user-deleted"
    assert await id_of(db, account.email) is None
    assert (await browser.get(page)).status == 404


async def test_one_session_or_all_of_them_are_ended(
    browser: Browser, api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    one, two, three = [await Browser(api, browser.origin).sign_in(account.email) for _ in range(3)]
    user_id = await id_of(db, account.email)
    newest = await db.fetchval(
        "SELECT id FROM sessions WHERE user_id = $1 ORDER BY id DESC LIMIT 1", user_id
    )
    page = f"/admin/users/{user_id}"
    await browser.send(f"{page}/sessions/{newest}/end")
    assert [(await each.get("/account")).status for each in (one, two, three)] == [200, 200, 303]
    await browser.send(f"{page}/logout")
    assert [(await each.get("/account")).status for each in (one, two)] == [303, 303]
    assert await noted(db) == ["session.revoked", "user.logged_out"]


async def test_a_role_is_given_and_taken_and_counts_at_once(
    browser: Browser, api: Api, settings: Settings, db: asyncpg.Connection
) -> None:
    auditor = await someone(api, settings, db, "auditor", "audit:read")
    account = await api.sign_up()
    theirs = await Browser(api, browser.origin).sign_in(account.email)
    page = f"/admin/users/{await id_of(db, account.email)}"
    assert (await theirs.get("/admin/audit")).status == 403
    await browser.send(f"{page}/roles", role="auditor")
    assert (await theirs.get("/admin/audit")).status == 200
    await browser.send(f"{page}/roles/auditor/remove")
    assert (await theirs.get("/admin/audit")).status == 403
    assert (await auditor.get("/admin/audit")).status == 200
    assert await noted(db) == ["role.assigned", "role.unassigned"]


async def test_the_last_administrator_stays_one(browser: Browser, db: asyncpg.Connection) -> None:
    user_id = await db.fetchval("SELECT user_id FROM user_roles WHERE role = 'admin'")
    page = f"/admin/users/{user_id}"
    refused = await browser.send(f"{page}/roles/admin/remove")
    assert refused.status == 409
    assert refused.tells("This is the last administrator.")
    assert (await browser.get(page)).status == 200


async def test_a_reader_of_users_sees_neither_sessions_nor_sign_ins(
    api: Api, settings: Settings, db: asyncpg.Connection
) -> None:
    reader = await someone(api, settings, db, "reader", "users:read")
    account = await api.sign_up()
    page = f"/admin/users/{await id_of(db, account.email)}"
    parts = re.findall(r'<h2 id="(\w+)"', (await reader.get(page)).text)
    assert parts == ["profile", "roles"]
    assert "<form" not in (await reader.get(page)).text.partition("<main")[2]


async def test_nobody_is_offered_or_can_give_what_they_have_not(
    api: Api, settings: Settings, db: asyncpg.Connection
) -> None:
    giver = await someone(api, settings, db, "giver", "users:read", "roles:assign")
    page = f"/admin/users/{await id_of(db, (await api.sign_up()).email)}"
    assert '<option value="admin"' not in (await giver.get(page)).text
    refused = await giver.send(f"{page}/roles", role="admin")
    assert refused.status == 403
    assert refused.tells("You cannot give permissions that you have not.")
    assert await noted(db) == []


async def test_who_proved_themselves_long_ago_is_asked_again_before_giving_power(
    browser: Browser, api: Api, db: asyncpg.Connection
) -> None:
    page = f"/admin/users/{await id_of(db, (await api.sign_up()).email)}"
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    for path, fields in (
        (f"{page}/roles", {"role": "admin"}),
        (f"{page}/delete", {"email": "a@example.com"}),
        ("/admin/clients", {"name": "Shop"}),
    ):
        asked = await browser.send(path, **fields)
        assert asked.goes_to.startswith("/step-up?next="), path
    assert (await browser.send(f"{page}/ban")).goes_to == f"{page}?done=banned"
    assert await noted(db) == ["user.banned"]


async def test_a_role_is_made_filled_emptied_and_deleted(
    browser: Browser, db: asyncpg.Connection
) -> None:
    made = await browser.send("/admin/roles", name="editor", description="Writes")
    page = "/admin/roles/editor"
    assert made.goes_to == f"{page}?done=role-created"
    again = await browser.send("/admin/roles", name="editor")
    assert again.status == 409
    assert again.tells("There is one by this name already.")
    wrong = await browser.send("/admin/roles", name="Chief Editor")
    assert wrong.status == 422
    assert wrong.tells("This is not such a name.")
    assert wrong.tells('value="Chief Editor"')
    await browser.send("/admin/permissions", name="posts:write", description="")
    await browser.send(page, description="Writes and corrects")
    await browser.send(f"{page}/permissions", permission="posts:write")
    shown = await browser.get(page)
    assert shown.tells("Writes and corrects")
    assert shown.tells("posts:write/remove")
    await browser.send(f"{page}/permissions/posts:write/remove")
    assert not (await browser.get(page)).tells("posts:write/remove")
    assert (await browser.send("/admin/roles/user/delete")).status == 409
    assert (await browser.send(f"{page}/delete")).goes_to == "/admin/roles?done=role-deleted"
    assert (await browser.get(page)).status == 404
    assert await noted(db) == [
        "role.created",
        "permission.created",
        "role.changed",
        "role.permission_added",
        "role.permission_removed",
        "role.deleted",
    ]


async def test_the_audit_log_is_searched_by_address_and_action(
    browser: Browser, api: Api, db: asyncpg.Connection
) -> None:
    ada, bob = [await api.sign_up(f"{name}@people.example") for name in ("ada", "bob")]
    for account in (ada, bob):
        await browser.send(f"/admin/users/{await id_of(db, account.email)}/ban", reason="why not")
    await browser.send(f"/admin/users/{await id_of(db, bob.email)}/unban")

    async def found(**asked: str) -> int:
        return (await browser.get("/admin/audit", **asked)).text.count("<time datetime")

    assert await found() == 3
    assert await found(who="bob@people.example") == 2
    assert await found(who=str(await id_of(db, bob.email)), action="user.banned") == 1
    assert await found(who="bob@people.example", part="actor") == 0
    assert await found(who="nobody@people.example") == 0
    assert await found(action="user.deleted") == 0
    assert (await browser.get("/admin/audit", action="'; DROP TABLE")).status == 422


async def test_a_client_is_made_and_its_secret_shown_once(
    browser: Browser, db: asyncpg.Connection
) -> None:
    made = await browser.send(
        "/admin/clients",
        name="Shop",
        redirect_uris="https://shop.example/back\r\nhttp://127.0.0.1:9/back",
        scopes="openid email",
    )
    assert made.status == 200
    secret = re.search(r'<pre id="secret">(\w+_[\w-]+)</pre>', made.text)
    page = "/admin/clients/" + await db.fetchval("SELECT id FROM clients")
    shown = await browser.get(page)
    assert secret
    assert secret[1] not in shown.text
    assert shown.tells("https://shop.example/back")
    assert shown.tells("http://127.0.0.1:9/back")
    rotated = await browser.send(f"{page}/secret")
    assert '<pre id="secret">' in rotated.text
    assert secret[1] not in rotated.text
    changed = await browser.send(page, name="Shop 2", scopes="openid")
    assert changed.goes_to == f"{page}?done=client-changed"
    assert (await browser.get("/admin/clients")).tells("Shop 2")
    assert (await browser.send(f"{page}/delete")).goes_to == "/admin/clients?done=client-deleted"
    assert (await browser.get(page)).status == 404
    assert await noted(db) == [
        "client.created",
        "client.secret_rotated",
        "client.changed",
        "client.deleted",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"redirect_uris": "http://shop.example/back"},
        {"redirect_uris": "nonsense"},
        {"logout_uris": "https://shop.example/#x"},
        {"scopes": "everything"},
        {"scopes": "No Such"},
    ],
)
async def test_a_client_that_cannot_be_is_refused_at_its_field(
    browser: Browser, db: asyncpg.Connection, fields: dict[str, str]
) -> None:
    refused = await browser.send("/admin/clients", name="Shop", **fields)
    (field,) = fields
    assert refused.status == 422
    assert f'id="admin-clients-{field}-wrong"' in refused.text
    assert await db.fetchval("SELECT count(*) FROM clients") == 0


async def test_a_service_is_given_roles_and_has_no_secret_when_public(
    browser: Browser, db: asyncpg.Connection
) -> None:
    await browser.send("/admin/clients", name="Robot", kind="service", scopes="users:read")
    page = "/admin/clients/" + await db.fetchval("SELECT id FROM clients")
    await browser.send(f"{page}/roles", role="admin")
    assert (await browser.get(page)).tells("/roles/admin/remove")
    await browser.send(f"{page}/roles/admin/remove")
    assert not (await browser.get(page)).tells("/roles/admin/remove")
    public = await browser.send("/admin/clients", name="App", kind="public")
    assert public.goes_to.endswith("?done=client-created")
    app = public.goes_to.partition("?")[0]
    assert (await browser.send(f"{app}/roles", role="admin")).status == 404
    assert not (await browser.get(app)).tells("Make a new secret")


async def test_every_page_speaks_korean(browser: Browser, api: Api, db: asyncpg.Connection) -> None:
    account = await api.sign_up()
    await browser.send("/admin/clients", name="Shop")
    pages = [
        *ENTRANCES.values(),
        f"/admin/users/{await id_of(db, account.email)}",
        "/admin/roles/admin",
        "/admin/permissions",
        "/admin/clients/" + await db.fetchval("SELECT id FROM clients"),
    ]
    for path in pages:
        shown = await browser.get(path, lang="ko")
        assert shown.status == 200, path
        assert shown.tells("감사 기록")


def test_everything_that_is_noted_has_words(repository: Path) -> None:
    app = repository / "holdfast/apps/identity"
    words = yaml.safe_load((app / "pages/words.yaml").read_text())
    calls = [
        node
        for path in app.glob("*/actions.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    noted = {told for call in calls for told in _noted_by(call)}
    assert {"user.banned", "session.token_reused"} <= noted
    assert sorted(noted - {key.removeprefix("did_") for key in words}) == []


def _noted_by(call: ast.Call) -> list[str]:
    """The actions that a call of `record`, or of what notes for its caller, writes down."""
    name = getattr(call.func, "id", "")
    told = call.args[1:2] if name in {"record", "record_each"} else []
    told += [each.value for each in call.keywords if each.arg == "noted_as"]
    return [str(each.value) for each in told if isinstance(each, ast.Constant)]
