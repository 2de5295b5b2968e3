"""The audit log: what was done is in it, is found, and stays."""

from uuid import UUID

import asyncpg
import pytest

from holdfast.apps.identity.audit.queries import SELECT_AUDIT
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Account, Api

AUDIT = "/api/v1/admin/audit"
ACTIVITY = "/api/v1/users/me/activity"
ROLES = "/api/v1/admin/roles"
USERS = "/api/v1/admin/users"


async def id_of(api: Api, account: Account) -> str:
    return str((await api.me(account)).data["id"])


async def test_list_audit_has_every_change_that_an_administrator_makes(
    api: Api, admin: Account
) -> None:
    account = await api.sign_up()
    admin_id, user_id = await id_of(api, admin), await id_of(api, account)
    session = (await api.call("GET", f"{USERS}/{user_id}/sessions", token=admin.access)).data[0]
    user, role = f"{USERS}/{user_id}", f"{ROLES}/support"
    calls = [
        ("POST", ROLES, {"name": "support", "permissions": ["users:read"]}),
        ("PATCH", role, {"description": "Answers mails"}),
        ("PUT", f"{role}/permissions/history:read", None),
        ("DELETE", f"{role}/permissions/history:read", None),
        ("POST", "/api/v1/admin/permissions", {"name": "deals:write"}),
        ("PUT", f"{user}/roles/support", None),
        ("DELETE", f"{user}/roles/support", None),
        ("DELETE", role, None),
        ("POST", "/api/v1/admin/sessions/revoke", {"session_ids": [session["id"]]}),
        ("POST", f"{user}/logout", None),
        ("DELETE", f"{user}/lock", None),
        ("PUT", f"{user}/ban", {"reason": "Sends advertisements."}),
        ("DELETE", f"{user}/ban", None),
        ("DELETE", user, None),
    ]
    for method, path, body in calls:
        answer = await api.call(method, path, body, token=admin.access)
        assert answer.status < 300, (path, answer.body)
    log = (await api.call("GET", f"{AUDIT}?limit=100", token=admin.access)).data
    ours = [entry for entry in reversed(log) if entry["actor_id"] == admin_id]
    assert [(entry["action"], entry["user_id"]) for entry in ours] == [
        ("role.created", None),
        ("role.changed", None),
        ("role.permission_added", None),
        ("role.permission_removed", None),
        ("permission.created", None),
        ("role.assigned", user_id),
        ("role.unassigned", user_id),
        ("role.deleted", None),
        ("session.revoked", user_id),
        ("user.logged_out", user_id),
        ("user.unlocked", user_id),
        ("user.banned", user_id),
        ("user.unbanned", user_id),
        ("user.deleted", user_id),
    ]
    assert ours[0]["facts"] == {"role": "support", "permissions": ["users:read"]}
    assert ours[11]["facts"] == {"reason": "Sends advertisements.", "sessions": 0}
    assert account.email not in str(log)


async def test_list_audit_has_nothing_of_what_was_refused(api: Api, admin: Account) -> None:
    user_id = await id_of(api, admin)
    before = await api.call("GET", AUDIT, token=admin.access)
    for method, path, body in (
        ("POST", ROLES, {"name": "user", "permissions": ["users:read"]}),
        ("DELETE", f"{ROLES}/user", None),
        ("DELETE", f"{USERS}/{user_id}/roles/admin", None),
        ("PUT", f"{USERS}/{user_id}/ban", {}),
    ):
        assert (await api.call(method, path, body, token=admin.access)).status in {403, 409}
    assert (await api.call("GET", AUDIT, token=admin.access)).body == before.body


async def test_list_audit_by_account_by_actor_and_by_action(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    first, second = await id_of(api, await api.sign_up()), await id_of(api, await api.sign_up())
    await db.execute(
        """INSERT INTO audit_log (actor_id, user_id, action, facts)
           SELECT a.id, u.id, action, '{}'
           FROM unnest($1::uuid[]) a(id), unnest($1::uuid[]) u(id),
             unnest(ARRAY['test.one', 'test.two']) action""",
        [UUID(first), UUID(second)],
    )

    async def count(query: str) -> int:
        answer = await api.call("GET", f"{AUDIT}?limit=100&{query}", token=admin.access)
        assert answer.status == 200, answer.body
        return sum(entry["action"].startswith("test.") for entry in answer.data)

    assert await count("") == 8
    assert await count(f"user_id={first}") == 4
    assert await count(f"actor_id={first}") == 4
    assert await count("action=test.one") == 4
    assert await count(f"user_id={first}&actor_id={second}") == 2
    assert await count(f"actor_id={first}&action=test.two") == 2
    assert await count(f"user_id={first}&actor_id={second}&action=test.two") == 1
    assert await count("action=test.three") == 0


async def test_list_audit_by_pages_newest_first(
    api: Api, admin: Account, db: asyncpg.Connection
) -> None:
    await db.execute(
        """INSERT INTO audit_log (action, facts)
           SELECT 'test.page', jsonb_build_object('n', n) FROM generate_series(1, 7) n"""
    )
    seen: list[int] = []
    cursor = ""
    while True:
        path = f"{AUDIT}?action=test.page&limit=3{cursor}"
        page = await api.call("GET", path, token=admin.access)
        seen += [entry["facts"]["n"] for entry in page.data]
        if page.body["next_cursor"] is None:
            break
        cursor = f"&cursor={page.body['next_cursor']}"
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_list_audit_is_for_those_who_may_and_refuses_odd_questions(
    api: Api, admin: Account
) -> None:
    account = await api.sign_up()
    assert (await api.call("GET", AUDIT, token=account.access)).status == 403
    assert (await api.call("GET", AUDIT)).status == 401
    for query in ("user_id=me", "actor_id=", "action=DROP%20TABLE", "cursor=x", "who=me"):
        answer = await api.call("GET", f"{AUDIT}?{query}", token=admin.access)
        assert answer.status == 422, query


@pytest.mark.parametrize("asked", ["user_id", "actor_id", "action", None])
async def test_list_audit_reads_only_what_it_answers_however_long_the_log(
    db: asyncpg.Connection, asked: str | None
) -> None:
    await db.execute(
        """INSERT INTO audit_log (id, actor_id, user_id, action, facts)
           SELECT uuidv7(make_interval(secs => n)), gen_random_uuid(), gen_random_uuid(),
             'test.' || n % 100, '{}'
           FROM generate_series(-5000, 0) n"""
    )
    rare = await db.fetchrow("SELECT actor_id, user_id, action FROM audit_log ORDER BY id LIMIT 1")
    assert rare is not None
    await db.execute("VACUUM ANALYZE audit_log")
    await db.execute("SET plan_cache_mode = force_generic_plan")
    await db.execute(f"PREPARE asked (uuid, uuid, text, uuid, bigint) AS {SELECT_AUDIT}")
    told = [
        f"'{rare[name]}'" if name == asked else "NULL" for name in ("user_id", "actor_id", "action")
    ]
    plan = await db.fetch(f"EXPLAIN ANALYZE EXECUTE asked ({', '.join(told)}, NULL, 20)")
    lines = [line for (line,) in plan]
    assert any("Index" in line and "never executed" not in line for line in lines), lines
    assert not any("Rows Removed by Filter" in line for line in lines), "\n".join(lines)


async def test_list_activity_tells_what_was_done_but_not_by_which_administrator(
    api: Api, admin: Account
) -> None:
    account, neighbour = await api.sign_up(), await api.sign_up()
    admin_id, user_id = await id_of(api, admin), await id_of(api, account)
    await api.call("PUT", f"{USERS}/{user_id}/roles/admin", token=admin.access)
    await api.call("POST", "/api/v1/auth/logout-all", token=account.access)
    account = await api.sign_in(account.email)
    activity = await api.call("GET", ACTIVITY, token=account.access)
    assert [(one["action"], one["by"]) for one in activity.data] == [
        ("user.logged_out", "you"),
        ("role.assigned", "administrator"),
    ]
    assert activity.data[1]["facts"] == {"role": "admin"}
    assert admin_id not in str(activity.body)
    assert (await api.call("GET", ACTIVITY, token=neighbour.access)).data == []
    assert (await api.call("GET", ACTIVITY)).status == 401


async def test_list_activity_tells_that_somebody_had_a_copy_of_a_token(
    api: Api, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await api.refresh(account.refresh)
    await db.execute("UPDATE refresh_tokens SET used_at = used_at - interval '1 hour'")
    assert (await api.refresh(account.refresh)).status == 401
    account = await api.sign_in(account.email)
    [told] = (await api.call("GET", ACTIVITY, token=account.access)).data
    assert (told["action"], told["by"]) == ("session.token_reused", "nobody")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET actor_id = NULL WHERE action = 'role.created'",
        "DELETE FROM {} WHERE action = 'role.created'",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "DROP TABLE {}",
    ],
)
async def test_the_service_itself_cannot_change_or_remove_what_is_in_the_log(
    api: Api, admin: Account, here: Identity, db: asyncpg.Connection, statement: str
) -> None:
    await api.call("POST", ROLES, {"name": "support"}, token=admin.access)
    part = await db.fetchval(
        "SELECT tableoid::regclass::text FROM audit_log WHERE action = 'role.created'"
    )
    for table in ("audit_log", part):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await here.db.execute(statement.format(table))
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'role.created'") == 1


async def test_what_is_old_leaves_the_log_with_its_partition(
    here: Identity, db: asyncpg.Connection
) -> None:
    await db.execute(
        """CREATE TABLE audit_log_20000103 PARTITION OF audit_log
             FOR VALUES FROM ('2000-01-03') TO ('2000-01-31');
           INSERT INTO audit_log (at, action, facts) VALUES ('2000-01-04', 'test.old', '{}')"""
    )
    await here.db.execute("SELECT keep_partitions()")
    assert await db.fetchval("SELECT to_regclass('audit_log_20000103')") is None
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'test.old'") == 0
