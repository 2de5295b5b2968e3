"""OAuth clients: made by whoever may, never stronger than their maker, and changed for everyone at once."""

from typing import Any

import asyncpg
import pytest

from holdfast.apps.identity.clients.rules import leads_back
from holdfast.apps.identity.tests.api import Account, Api
from holdfast.apps.identity.tests.conftest import make_admin
from holdfast.apps.identity.tests.relying_party import (
    CLIENTS,
    Browser,
    RelyingParty,
    basic,
    send_form,
    userinfo,
)
from holdfast.core.settings import Settings

WIKI = {"name": "Wiki", "redirect_uris": ["https://wiki.example/back"]}


@pytest.fixture
def browser(api: Api, settings: Settings) -> Browser:
    return Browser(api, settings.origin)


async def make_writer(api: Api, admin: Account) -> Account:
    """Somebody who may do nothing but look after clients."""
    account = await api.sign_up()
    body = {"name": "keeper", "permissions": ["clients:read", "clients:write"]}
    await api.call("POST", "/api/v1/admin/roles", body, token=admin.access)
    user_id = (await api.me(account)).data["id"]
    path = f"/api/v1/admin/users/{user_id}/roles/keeper"
    assert (await api.call("PUT", path, token=admin.access)).status == 204
    return account


async def make_service(api: Api, admin: Account, browser: Browser, *scopes: str) -> RelyingParty:
    """A client that calls by itself, as an admin."""
    party = await RelyingParty.made(
        api, admin, browser, redirect_uris=[], scopes=list(scopes), service_account=True
    )
    path = f"/api/v1/admin/users/{party.service_user}/roles/admin"
    assert (await api.call("PUT", path, token=admin.access)).status == 204
    return party


async def test_create_client_shows_its_secret_once_and_keeps_only_a_keyed_hash(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    made = await api.call("POST", CLIENTS, WIKI, token=admin.access)
    assert made.status == 201
    secret, client_id = made.data.pop("client_secret"), made.data["client_id"]
    assert len(secret) > 40
    shown = await api.call("GET", f"{CLIENTS}/{client_id}", token=admin.access)
    assert shown.data == made.data
    assert shown.data["confidential"]
    row = await db.fetchrow("SELECT * FROM clients")
    assert row is not None
    assert len(row["secret_hash"]) == 32
    assert secret not in str(dict(row))
    noted = await db.fetchrow("SELECT action, facts FROM audit_log WHERE action LIKE 'client.%'")
    assert noted is not None
    assert noted["action"] == "client.created"
    assert secret not in noted["facts"]


async def test_create_client_makes_one_that_can_keep_no_secret(api: Api, admin: Account) -> None:
    made = await api.call("POST", CLIENTS, WIKI | {"confidential": False}, token=admin.access)
    assert made.data["client_secret"] is None
    assert not made.data["confidential"]
    rotated = await api.call(
        "POST", f"{CLIENTS}/{made.data['client_id']}/secret", token=admin.access
    )
    assert rotated.status == 409


PROPER = [
    "https://wiki.example/back?from=here",
    "http://127.0.0.1:8080/back",
    "http://[::1]/back",
    "http://localhost:3000/back",
    "com.example.app:/back",
    "com.example.app://back",
]
IMPROPER = [
    "http://wiki.example/back",
    "http://127.0.0.1.example/back",
    "http://localhost.example/back",
    "http://127.0.0.1@wiki.example/",
    "https://me@wiki.example/back",
    "https:///back",
    "https://wiki.example/back#fragment",
    "https://wiki.example/back#",
    "https://wiki.example:port/back",
    "https://wiki.example\\@evil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "app:/back",
    "/back",
    "wiki.example",
    "https://wiki.example/b ack",
    "https://wiki.example/b\nack",
    "https://위키.example/back",
    "",
]


@pytest.mark.parametrize("field", ["redirect_uris", "logout_uris"])
async def test_create_client_sends_people_only_to_proper_addresses(
    api: Api, admin: Account, field: str
) -> None:
    made = await api.call("POST", CLIENTS, WIKI | {field: PROPER}, token=admin.access)
    assert made.status == 201, made.body
    assert made.data[field] == PROPER
    for address in IMPROPER:
        refused = await api.call("POST", CLIENTS, WIKI | {field: [address]}, token=admin.access)
        assert refused.status == 422, address
        assert refused.body["errors"][0]["field"].startswith(field)


PORTLESS = {"http://127.0.0.1/back", "http://[::1]/back", "https://wiki.example/back"}


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("http://127.0.0.1:51234/back", True),
        ("http://[::1]:51234/back", True),
        ("http://127.0.0.1:51234/other", False),
        ("http://127.0.0.1:51234/back?more=1", False),
        ("http://127.0.0.1:99999/back", False),
        ("http://127.0.0.1:/back", False),
        ("http://me@127.0.0.1:51234/back", False),
        ("http://127.0.0.1:51234/ba\nck", False),
        ("http://127.0.0.1:51234/back#", False),
        ("http://localhost:51234/back", False),
        ("https://wiki.example:51234/back", False),
        ("https://wiki.example/back/", False),
        ("HTTPS://wiki.example/back", False),
    ],
)
def test_an_app_may_listen_on_any_loopback_port_and_nothing_else_varies(
    address: str, *, good: bool
) -> None:
    assert leads_back(PORTLESS, address, any_port=True) == good
    assert not leads_back(PORTLESS, address, any_port=False)


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ["telepathy"]},
        {"scopes": ["no:such"]},
        {"scopes": ["openid"] * 51},
        {"redirect_uris": ["https://wiki.example/"] * 21},
        {"redirect_uris": ["https://wiki.example/" + "x" * 1000]},
        {"name": ""},
        {"name": "\0"},
        {"confidential": False, "service_account": True},
        {"client_secret": "chosen"},
    ],
)
async def test_create_client_refuses_what_makes_no_sense_and_leaves_no_trace(
    api: Api, admin: Account, db: asyncpg.Connection, wanted: dict[str, Any]
) -> None:
    refused = await api.call("POST", CLIENTS, WIKI | wanted, token=admin.access)
    assert refused.status == 422
    assert await db.fetchval("SELECT count(*) FROM clients") == 0
    assert await db.fetchval("SELECT count(*) FROM users WHERE service") == 0


async def test_nobody_makes_a_client_that_may_do_more_than_they_or_takes_its_secret(
    api: Api, admin: Account, browser: Browser
) -> None:
    writer = await make_writer(api, admin)
    beyond = WIKI | {"scopes": ["users:read"]}
    assert (await api.call("POST", CLIENTS, beyond, token=writer.access)).status == 403
    service = await make_service(api, admin, browser, "users:read")
    path = f"{CLIENTS}/{service.id}"
    assert (await api.call("POST", f"{path}/secret", token=writer.access)).status == 403
    more = {"scopes": ["users:read", "roles:read"]}
    assert (await api.call("PATCH", path, more, token=writer.access)).status == 403
    same = {"name": "Other", "scopes": ["users:read", "clients:read"]}
    assert (await api.call("PATCH", path, same, token=writer.access)).status == 200
    assert (await service.act()).status == 200


async def test_list_clients_goes_page_by_page_for_whoever_may_read(
    api: Api, admin: Account
) -> None:
    made = {
        (await api.call("POST", CLIENTS, WIKI, token=admin.access)).data["client_id"]
        for _ in range(3)
    }
    first = await api.call("GET", f"{CLIENTS}?limit=2", token=admin.access)
    cursor = first.body["next_cursor"]
    second = await api.call("GET", f"{CLIENTS}?limit=2&cursor={cursor}", token=admin.access)
    assert second.body["next_cursor"] is None
    assert {row["client_id"] for row in [*first.data, *second.data]} == made
    assert all("client_secret" not in row for row in first.data)
    nobody = await api.sign_up()
    for method, path in (("GET", CLIENTS), ("GET", f"{CLIENTS}/x"), ("DELETE", f"{CLIENTS}/x")):
        assert (await api.call(method, path, token=nobody.access)).status == 403
    assert (await api.call("POST", CLIENTS, WIKI, token=nobody.access)).status == 403


async def test_show_client_and_all_changes_know_no_client_that_is_not_there(
    api: Api, admin: Account
) -> None:
    for method, path, body in (
        ("GET", "nobody", None),
        ("PATCH", "nobody", {}),
        ("DELETE", "nobody", None),
        ("POST", "nobody/secret", None),
    ):
        answer = await api.call(method, f"{CLIENTS}/{path}", body, token=admin.access)
        assert answer.status == 404, method
    for odd in ("%00", "a%20b", "x" * 65):
        assert (await api.call("GET", f"{CLIENTS}/{odd}", token=admin.access)).status == 422


async def test_change_client_holds_at_the_next_request_on_every_worker(
    api: Api, other: Api, admin: Account, browser: Browser
) -> None:
    party = await RelyingParty.made(api, admin, browser)
    await browser.sign_in(await api.sign_up())
    elsewhere = Browser(other, browser.origin, browser.cookies)
    asked = f"/oauth/authorize?{party.asking()}"
    assert (await elsewhere.get(asked)).status == 303
    moved = {"redirect_uris": ["https://wiki.example/moved"]}
    changed = await api.call("PATCH", f"{CLIENTS}/{party.id}", moved, token=admin.access)
    assert changed.data["redirect_uris"] == moved["redirect_uris"]
    assert changed.data["name"] == "Wiki"
    page = await elsewhere.get(asked)
    assert page.status == 400
    assert not page.location


async def test_change_client_ends_the_sessions_with_a_scope_that_it_loses(
    api: Api, admin: Account, browser: Browser
) -> None:
    party = await RelyingParty.made(api, admin, browser)
    await browser.sign_in(await api.sign_up())
    whole, plain = await party.tokens(), await party.tokens(scope="openid")
    fewer = {"scopes": ["openid", "profile"]}
    await api.call("PATCH", f"{CLIENTS}/{party.id}", fewer, token=admin.access)
    assert (await userinfo(api, whole["access_token"])).status == 401
    assert (await party.refresh(whole["refresh_token"])).status == 400
    assert (await userinfo(api, plain["access_token"])).status == 200
    assert (await party.ask(scope="openid email"))["error"] == "invalid_scope"


async def test_delete_client_ends_all_that_it_holds_on_every_worker(
    api: Api, other: Api, admin: Account, browser: Browser, db: asyncpg.Connection
) -> None:
    party = await RelyingParty.made(
        api, admin, browser, scopes=["openid", "offline_access"], service_account=True
    )
    await browser.sign_in(await api.sign_up())
    tokens = await party.tokens(scope="openid offline_access")
    own = (await party.act()).body["access_token"]
    assert (await other.me(own)).status == 200
    assert (await userinfo(other, tokens["access_token"])).status == 200
    deleted = await api.call("DELETE", f"{CLIENTS}/{party.id}", token=admin.access)
    assert deleted.status == 204
    for worker in (api, other):
        assert (await worker.me(own)).status == 401
        assert (await userinfo(worker, tokens["access_token"])).status == 401
        refreshed = await party.refresh(tokens["refresh_token"], api=worker)
        assert (refreshed.status, refreshed.body["error"]) == (401, "invalid_client")
    assert await db.fetchval("SELECT count(*) FROM users WHERE service") == 0


async def test_rotate_client_secret_refuses_the_old_one_at_the_next_request_of_every_worker(
    api: Api, other: Api, admin: Account, browser: Browser
) -> None:
    party = await RelyingParty.made(api, admin, browser, service_account=True)
    for worker in (api, other):
        assert (await party.act(api=worker)).status == 200
    rotated = await api.call("POST", f"{CLIENTS}/{party.id}/secret", token=admin.access)
    for worker in (other, api):
        assert (await party.act(api=worker)).status == 401
    party.secret = rotated.data["client_secret"]
    for worker in (other, api):
        assert (await party.act(api=worker)).status == 200


async def test_a_service_account_may_what_its_scopes_and_its_roles_both_permit(
    api: Api, admin: Account, browser: Browser
) -> None:
    service = await make_service(api, admin, browser, "users:read", "roles:read")
    answer = await service.act("users:read")
    assert answer.body["scope"] == "users:read"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "refresh_token" not in answer.body
    token = answer.body["access_token"]
    assert (await api.me(token)).data["email"] is None
    assert (await api.call("GET", "/api/v1/admin/users", token=token)).status == 200
    assert (await api.call("GET", "/api/v1/admin/roles", token=token)).status == 403
    assert (await service.act()).body["scope"] == "roles:read users:read"
    for beyond in ("roles:write", "openid", "users:read nothing"):
        refused = await service.act(beyond)
        assert (refused.status, refused.body["error"]) == (400, "invalid_scope")
    path = f"/api/v1/admin/users/{service.service_user}/roles/admin"
    assert (await api.call("DELETE", path, token=admin.access)).status == 204
    assert (await api.call("GET", "/api/v1/admin/users", token=token)).status == 403
    assert (await service.act("users:read")).body["error"] == "invalid_scope"


async def test_a_service_account_proves_nothing_and_its_ban_holds_at_once(
    api: Api, admin: Account, browser: Browser, db: asyncpg.Connection
) -> None:
    service = await make_service(api, admin, browser, "users:read")
    token = (await service.act()).body["access_token"]
    fresh = {"name": "script", "expires_in_days": 1}
    made = await api.call("POST", "/api/v1/users/me/tokens", fresh, token=token)
    assert made.status == 403
    assert (await userinfo(api, token)).status == 401
    await db.execute("UPDATE users SET banned_at = now() WHERE service")
    refused = await service.act()
    assert (refused.status, refused.body["error"]) == (400, "invalid_grant")


async def test_a_client_proves_itself_in_one_way_and_only_by_its_own_secret(
    api: Api, admin: Account, browser: Browser
) -> None:
    party = await RelyingParty.made(api, admin, browser, service_account=True)
    other = await RelyingParty.made(api, admin, browser)
    public = await RelyingParty.made(api, admin, browser, confidential=False)
    assert party.secret
    assert other.secret
    act = {"grant_type": "client_credentials"}
    in_form = {"client_id": party.id, "client_secret": party.secret}

    async def ask(told: dict[str, str], headers: dict[str, str] | None = None) -> tuple[int, str]:
        answer = await send_form(api, "/oauth/token", act | told, headers)
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
        return answer.status, answer.body.get("error", "")

    assert await ask(in_form) == (200, "")
    assert await ask({"client_id": party.id}, basic(party.id, party.secret)) == (200, "")
    assert await ask(in_form, basic(party.id, party.secret)) == (400, "invalid_request")
    assert await ask({"client_id": "x"}, basic(party.id, party.secret)) == (400, "invalid_request")
    nobody: list[tuple[dict[str, str], dict[str, str] | None]] = [
        ({}, None),
        ({"client_id": party.id}, None),
        ({"client_id": party.id, "client_secret": other.secret}, None),
        ({"client_id": "nobody", "client_secret": party.secret}, None),
        ({"client_id": "\0"}, None),
        ({"client_id": public.id, "client_secret": "guessed"}, None),
        ({}, {"Authorization": "Basic !"}),
        ({}, {"Authorization": "Basic /w=="}),
        ({}, basic(party.id, "wrong")),
    ]
    for told, headers in nobody:
        status, error = await ask(told, headers)
        assert status in {400, 401}, told
        assert error == ("invalid_request" if status == 400 else "invalid_client")
    assert (await ask({"client_id": public.id}))[1] == "unauthorized_client"


async def test_two_admins_change_one_client_and_neither_loses_what_the_other_wrote(
    api: Api, db: asyncpg.Connection
) -> None:
    admin = await make_admin(api, db)
    made = await api.call("POST", CLIENTS, WIKI, token=admin.access)
    path = f"{CLIENTS}/{made.data['client_id']}"
    await api.call("PATCH", path, {"name": "Our wiki"}, token=admin.access)
    await api.call("PATCH", path, {"trusted": True, "name": None}, token=admin.access)
    shown = (await api.call("GET", path, token=admin.access)).data
    assert (shown["name"], shown["trusted"]) == ("Our wiki", True)
