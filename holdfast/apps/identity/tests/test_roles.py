"""Roles and permissions: made, given, taken, and never beyond what the giver has."""

import asyncpg
import pytest

from holdfast.apps.identity.tests.api import Account, Answer, Api

ROLES = "/api/v1/admin/roles"


async def user_id_of(api: Api, account: Account) -> str:
    return str((await api.me(account)).data["id"])


async def make_role(api: Api, admin: Account, name: str, *permissions: str) -> Answer:
    body = {"name": name, "description": "made by a test", "permissions": permissions}
    return await api.call("POST", ROLES, body, token=admin.access)


async def give(api: Api, admin: Account, user_id: str, role: str) -> Answer:
    path = f"/api/v1/admin/users/{user_id}/roles/{role}"
    return await api.call("PUT", path, token=admin.access)


async def take(api: Api, admin: Account, user_id: str, role: str) -> Answer:
    path = f"/api/v1/admin/users/{user_id}/roles/{role}"
    return await api.call("DELETE", path, token=admin.access)


async def test_create_role_with_permissions(api: Api, admin: Account) -> None:
    made = await make_role(api, admin, "support", "users:read", "history:read")
    assert made.status == 201
    assert made.data["permissions"] == ["history:read", "users:read"]
    assert (await make_role(api, admin, "support")).status == 409


async def test_create_role_refuses_unknown_permissions_and_leaves_no_trace(
    api: Api, admin: Account
) -> None:
    body = {"name": "phantom", "permissions": ["ghosts:see"]}
    answer = await api.call("POST", ROLES, body, token=admin.access)
    assert answer.status == 422
    assert "ghosts:see" in answer.body["errors"][0]["message"]
    assert (await api.call("GET", f"{ROLES}/phantom", token=admin.access)).status == 404


@pytest.mark.parametrize("name", ["", "A", "a", "with space", "x" * 41, "1st", "new\n", 'a"b'])
async def test_create_role_refuses_bad_names(api: Api, admin: Account, name: str) -> None:
    assert (await make_role(api, admin, name)).status == 422


async def test_show_role_as_it_is_listed(api: Api, admin: Account) -> None:
    await make_role(api, admin, "support", "users:read")
    shown = await api.call("GET", f"{ROLES}/support", token=admin.access)
    listed = await api.call("GET", ROLES, token=admin.access)
    assert shown.data in listed.data


async def test_list_roles_by_pages(api: Api, admin: Account) -> None:
    await make_role(api, admin, "support", "users:read")
    listed = await api.call("GET", ROLES, token=admin.access)
    assert [role["name"] for role in listed.data] == ["admin", "support", "user"]
    first = await api.call("GET", f"{ROLES}?limit=2", token=admin.access)
    cursor = first.body["next_cursor"]
    rest = await api.call("GET", f"{ROLES}?limit=2&cursor={cursor}", token=admin.access)
    assert [role["name"] for role in rest.data] == ["user"]


async def test_assign_role_holds_on_the_next_request(api: Api, admin: Account) -> None:
    account = await api.sign_up()
    user_id = await user_id_of(api, account)
    await make_role(api, admin, "support", "users:read")
    users = "/api/v1/admin/users"
    assert (await api.call("GET", users, token=account.access)).status == 403
    assert (await give(api, admin, user_id, "support")).status == 204
    assert (await api.call("GET", users, token=account.access)).status == 200
    assert (await take(api, admin, user_id, "support")).status == 204
    assert (await api.call("GET", users, token=account.access)).status == 403


async def test_assign_role_twice_changes_nothing_more(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    user_id = await user_id_of(api, await api.sign_up())
    await make_role(api, admin, "support", "users:read")
    for _ in range(2):
        assert (await give(api, admin, user_id, "support")).status == 204
    events = await db.fetchval("SELECT count(*) FROM outbox WHERE type = 'role.changed'")
    assert events == 1


async def test_assign_role_of_nothing_or_nobody_is_not_found(api: Api, admin: Account) -> None:
    user_id = await user_id_of(api, await api.sign_up())
    nobody = "00000000-0000-0000-0000-000000000000"
    assert (await give(api, admin, user_id, "ghost")).status == 404
    assert (await give(api, admin, nobody, "user")).status == 404
    assert (await give(api, admin, "me", "user")).status == 422


async def test_assign_role_beyond_ones_own_permissions_is_refused(api: Api, admin: Account) -> None:
    assigner, friend = await api.sign_up(), await api.sign_up()
    await make_role(api, admin, "assigner", "roles:assign")
    await give(api, admin, await user_id_of(api, assigner), "assigner")
    for user in (assigner, friend):
        answer = await give(api, assigner, await user_id_of(api, user), "admin")
        assert answer.status == 403
        assert "roles:write" in answer.body["detail"]
    assert (await give(api, assigner, await user_id_of(api, friend), "assigner")).status == 204


async def test_unassign_role_of_the_last_admin_is_refused(api: Api, admin: Account) -> None:
    user_id = await user_id_of(api, admin)
    assert (await take(api, admin, user_id, "admin")).status == 409
    other = await user_id_of(api, await api.sign_up())
    await give(api, admin, other, "admin")
    assert (await take(api, admin, user_id, "admin")).status == 204
    assert (await api.call("GET", ROLES, token=admin.access)).status == 403


async def test_add_permission_and_remove_permission_hold_on_the_next_request(
    api: Api, admin: Account
) -> None:
    account = await api.sign_up()
    await make_role(api, admin, "reader")
    await give(api, admin, await user_id_of(api, account), "reader")
    path = f"{ROLES}/reader/permissions/users:read"
    users = "/api/v1/admin/users"
    for method, status in [("PUT", 200), ("DELETE", 403), ("PUT", 200), ("DELETE", 403)]:
        assert (await api.call(method, path, token=admin.access)).status == 204
        assert (await api.call("GET", users, token=account.access)).status == status


async def test_add_permission_that_one_lacks_is_refused(api: Api, admin: Account) -> None:
    writer = await api.sign_up()
    await make_role(api, admin, "writer", "roles:write")
    await give(api, admin, await user_id_of(api, writer), "writer")
    path = f"{ROLES}/writer/permissions/sessions:write"
    assert (await api.call("PUT", path, token=writer.access)).status == 403
    assert (await make_role(api, writer, "mine", "users:read")).status == 403


async def test_add_permission_that_there_is_not(api: Api, admin: Account) -> None:
    for path in (f"{ROLES}/ghost/permissions/users:read", f"{ROLES}/user/permissions/no:such"):
        answer = await api.call("PUT", path, token=admin.access)
        assert answer.status == 404


async def test_remove_permission_from_admin_is_refused(api: Api, admin: Account) -> None:
    path = f"{ROLES}/admin/permissions/users:read"
    assert (await api.call("DELETE", path, token=admin.access)).status == 409


async def test_delete_role_takes_its_permissions_away(api: Api, admin: Account) -> None:
    account = await api.sign_up()
    await make_role(api, admin, "support", "users:read")
    await give(api, admin, await user_id_of(api, account), "support")
    assert (await api.call("GET", "/api/v1/admin/users", token=account.access)).status == 200
    assert (await api.call("DELETE", f"{ROLES}/support", token=admin.access)).status == 204
    assert (await api.call("GET", "/api/v1/admin/users", token=account.access)).status == 403
    assert (await api.call("DELETE", f"{ROLES}/support", token=admin.access)).status == 404


async def test_delete_role_that_is_built_in_is_refused(api: Api, admin: Account) -> None:
    for role in ("admin", "user"):
        assert (await api.call("DELETE", f"{ROLES}/{role}", token=admin.access)).status == 409


async def test_create_permission_belongs_to_admins_at_once(api: Api, admin: Account) -> None:
    body = {"name": "deals:write", "description": "Make deals"}
    path = "/api/v1/admin/permissions"
    assert (await api.call("POST", path, body, token=admin.access)).status == 201
    assert (await api.call("POST", path, body, token=admin.access)).status == 409
    assert "deals:write" in (await api.me(admin)).data["permissions"]
    assert (await make_role(api, admin, "seller", "deals:write")).status == 201


async def test_change_role_describes_it_and_changes_nothing_else(api: Api, admin: Account) -> None:
    for role in ("support", "admin"):
        await make_role(api, admin, role, "users:read")
        before = (await api.call("GET", f"{ROLES}/{role}", token=admin.access)).data
        body = {"description": "Answers mails"}
        changed = await api.call("PATCH", f"{ROLES}/{role}", body, token=admin.access)
        assert (changed.status, changed.data) == (200, {**before, **body})
        shown = await api.call("GET", f"{ROLES}/{role}", token=admin.access)
        assert shown.body == changed.body


async def test_change_role_refuses_what_is_not_acceptable(api: Api, admin: Account) -> None:
    await make_role(api, admin, "support")
    for body in (
        {},
        {"description": "d" * 201},
        {"description": "nul\0"},
        {"description": None},
        {"description": "", "name": "admin"},
        {"description": "", "permissions": ["users:read"]},
    ):
        answer = await api.call("PATCH", f"{ROLES}/support", body, token=admin.access)
        assert answer.status == 422, body
    ghost = await api.call("PATCH", f"{ROLES}/ghost", {"description": ""}, token=admin.access)
    assert ghost.status == 404
    shown = (await api.call("GET", f"{ROLES}/support", token=admin.access)).data
    assert (shown["description"], shown["permissions"]) == ("made by a test", [])


async def test_list_permissions(api: Api, admin: Account) -> None:
    listed = await api.call("GET", "/api/v1/admin/permissions", token=admin.access)
    assert {"name": "users:read", "description": "See all accounts"} in listed.data


async def test_roles_are_closed_to_ordinary_users(api: Api) -> None:
    account = await api.sign_up()
    user_id = await user_id_of(api, account)
    calls = [
        ("GET", ROLES, None),
        ("POST", ROLES, {"name": "mine", "permissions": []}),
        ("GET", f"{ROLES}/admin", None),
        ("PATCH", f"{ROLES}/user", {"description": "mine"}),
        ("DELETE", f"{ROLES}/user", None),
        ("PUT", f"{ROLES}/user/permissions/users:read", None),
        ("DELETE", f"{ROLES}/user/permissions/users:read", None),
        ("GET", "/api/v1/admin/permissions", None),
        ("POST", "/api/v1/admin/permissions", {"name": "a:b"}),
        ("PUT", f"/api/v1/admin/users/{user_id}/roles/admin", None),
        ("DELETE", f"/api/v1/admin/users/{user_id}/roles/user", None),
    ]
    for method, path, body in calls:
        assert (await api.call(method, path, body, token=account.access)).status == 403, path
        assert (await api.call(method, path, body)).status == 401, path
