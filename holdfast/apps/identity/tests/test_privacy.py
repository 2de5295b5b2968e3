"""Own data: handed over whole, and gone when their owner says so."""

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest

from holdfast.apps.identity.history.actions import verify_history
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Answer, Api

ME = "/api/v1/users/me"
EXPORT = f"{ME}/export"
TOKENS = f"{ME}/tokens"

# One row of everything that a user may have, apart from what signing up and signing in leaves.
BELONGINGS = """
    UPDATE users SET email_verified_at = now(), name = 'Ada Lovelace' WHERE id = '{id}';
    INSERT INTO totp_secrets (user_id, sealed) VALUES ('{id}', 'sealed-up');
    INSERT INTO recovery_codes VALUES ('{id}', 'hash-of-one', NULL), ('{id}', 'hash-of-two', now());
    INSERT INTO passkeys (credential_id, user_id, name, public_key, sign_count, transports, backed_up)
      VALUES ('credential-{id}', '{id}', 'My phone', 'key-of-it', 0, '{{internal}}', true);
    INSERT INTO oauth_accounts VALUES ('google', 'google-{id}', '{id}', 'ada@elsewhere.example');
    INSERT INTO clients VALUES
      ('shop', 'Shop', NULL, '{{}}', '{{}}', '{{openid}}', false, NULL) ON CONFLICT DO NOTHING;
    INSERT INTO consents VALUES ('{id}', 'shop', '{{openid}}');
    INSERT INTO personal_tokens (user_id, name, expires_at)
      VALUES ('{id}', 'Backup', now() + interval '1 day');
    INSERT INTO tickets VALUES ('hash-{id}', now() + interval '1 hour', 'test', '{id}', '{{}}');
    INSERT INTO audit_log (actor_id, user_id, action, facts)
      VALUES ('{id}', '{id}', 'test.mine', '{{"device": "Firefox"}}');"""

COUNT = "SELECT count(*) FROM {} WHERE {} = $1"

# The tables that name accounts and keep their rows until the partition goes.
KEPT = {"audit_log", "login_history"}


async def with_belongings(api: Api, db: asyncpg.Connection) -> tuple[Account, str]:
    account = await api.sign_up()
    user_id = str((await api.me(account)).data["id"])
    await db.execute(BELONGINGS.format(id=user_id))
    return await api.sign_in(account.email), user_id


async def delete(api: Api, account: Account) -> Answer:
    return await api.call("DELETE", ME, token=account.access)


async def tables_of_users(db: asyncpg.Connection) -> dict[str, str]:
    """Every table that names an account, and by which column."""
    rows = await db.fetch(
        """SELECT DISTINCT conrelid::regclass::text, attname FROM pg_constraint
             JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
           WHERE contype = 'f' AND confrelid = 'users'::regclass AND conparentid = 0
           UNION
           SELECT attrelid::regclass::text, attname FROM pg_attribute
             JOIN pg_class c ON c.oid = attrelid
           WHERE attname = 'user_id' AND relkind IN ('r', 'p') AND NOT relispartition
             AND relnamespace = 'identity'::regnamespace"""
    )
    return {str(table): str(column) for table, column in rows}


async def test_export_me_is_everything_of_mine_and_nothing_else(
    api: Api, db: asyncpg.Connection
) -> None:
    account, user_id = await with_belongings(api, db)
    stranger, stranger_id = await with_belongings(api, db)
    await db.execute("UPDATE totp_secrets SET confirmed_at = now()")
    answer = await api.call("GET", EXPORT, token=account.access)
    assert answer.status == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    data = answer.data
    assert (data["profile"]["id"], data["profile"]["email"]) == (user_id, account.email)
    assert data["profile"]["name"] == "Ada Lovelace"
    assert data["roles"] == ["user"]
    assert data["second_factor"]["app_added_at"] is not None
    assert data["second_factor"]["recovery_codes_left"] == 1
    assert [passkey["name"] for passkey in data["passkeys"]] == ["My phone"]
    assert [one["email"] for one in data["linked_accounts"]] == ["ada@elsewhere.example"]
    assert [token["name"] for token in data["personal_tokens"]] == ["Backup"]
    assert [consent["client_id"] for consent in data["consents"]] == ["shop"]
    assert len(data["sessions"]) == 2
    assert [login["outcome"] for login in data["logins"]] == ["succeeded", "succeeded"]
    assert [one["action"] for one in data["activity"]] == ["data.exported", "test.mine"]
    assert stranger_id not in str(data)
    assert stranger.email not in str(data)


async def test_export_me_holds_nothing_that_lets_anybody_in(
    api: Api, db: asyncpg.Connection
) -> None:
    account, _ = await with_belongings(api, db)
    made = await api.call(
        "POST", TOKENS, {"name": "more", "expires_in_days": 1}, token=account.access
    )
    text = json.dumps((await api.call("GET", EXPORT, token=account.access)).body)
    for secret in ("argon2", "sealed-up", "hash-of", "key-of-it", "credential-", "hash-", "digest"):
        assert secret not in text
    for token in (account.access, account.refresh, account.device, made.data["token"]):
        assert token[-40:] not in text


async def test_export_me_is_whole_however_much_there_is(api: Api, db: asyncpg.Connection) -> None:
    account = await api.sign_up()
    user_id = UUID((await api.me(account)).data["id"])
    await db.execute(
        """INSERT INTO sessions (user_id, expires_at, ended_at, ip, device)
           SELECT $1, now() + interval '1 day', now(), '::1', 'device ' || n
           FROM generate_series(1, 1200) n""",
        user_id,
    )
    await db.execute(
        """INSERT INTO audit_log (actor_id, user_id, action, facts)
           SELECT NULL, $1, 'test.much', jsonb_build_object('n', n) FROM generate_series(1, 1100) n""",
        user_id,
    )
    await db.execute(
        """INSERT INTO login_history
           SELECT period, 1000 + n, now(), '', $1, '192.0.2.7', 'device ' || n, 'delayed', ''
           FROM login_chains, generate_series(1, 1050) n""",
        user_id,
    )
    data = (await api.call("GET", EXPORT, token=account.access)).data
    assert len({session["id"] for session in data["sessions"]}) == 1201
    assert len({one["id"] for one in data["activity"]}) == 1101
    assert len({login["device"] for login in data["logins"]}) == 1051
    assert data["logins"][0]["ip"] == "192.0.2.7"


@pytest.mark.parametrize(("method", "path"), [("GET", EXPORT), ("DELETE", ME)])
async def test_export_me_and_delete_me_need_a_fresh_proof(
    api: Api, db: asyncpg.Connection, method: str, path: str
) -> None:
    account, _ = await with_belongings(api, db)
    body = {"name": "script", "expires_in_days": 1}
    script = (await api.call("POST", TOKENS, body, token=account.access)).data["token"]
    assert (await api.call(method, path, token=script)).status == 403
    account = await api.sign_in(account.email)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    stale = await api.call(method, path, token=account.access)
    assert stale.status == 401
    assert "insufficient_user_authentication" in stale.headers["WWW-Authenticate"]
    assert (await api.me(account)).status == 200
    assert (await api.call(method, path)).status == 401


async def test_delete_me_leaves_nothing_of_mine_and_all_of_others(
    api: Api, db: asyncpg.Connection
) -> None:
    account, user_id = await with_belongings(api, db)
    _, neighbour_id = await with_belongings(api, db)
    tables = await tables_of_users(db)
    for table in tables.keys() - {"clients"}:
        count = COUNT.format(table, tables[table])
        assert await db.fetchval(count, UUID(user_id)) > 0, f"{table} needs a row in BELONGINGS"
    assert (await delete(api, account)).status == 204
    for table, column in tables.items():
        count = COUNT.format(table, column)
        assert (await db.fetchval(count, UUID(user_id)) > 0) == (table in KEPT), table
        if table != "clients":
            assert await db.fetchval(count, UUID(neighbour_id)) > 0, table
    assert await db.fetchval("SELECT count(*) FROM users WHERE email = $1", account.email) == 0


async def test_delete_me_holds_on_every_worker_for_every_token(
    api: Api, other: Api, db: asyncpg.Connection
) -> None:
    account, _ = await with_belongings(api, db)
    body = {"name": "script", "expires_in_days": 1}
    script = (await api.call("POST", TOKENS, body, token=account.access)).data["token"]
    tokens = [account.access, (await api.sign_in(account.email)).access, script]
    for token in tokens:
        assert (await other.me(token)).status == 200
    assert (await delete(api, account)).status == 204
    for token in tokens:
        assert (await other.me(token)).status == (await api.me(token)).status == 401
    assert (await other.refresh(account.refresh)).status == 401
    assert (await delete(api, account)).status == 401


async def test_delete_me_tells_other_services_and_its_owner(
    api: Api, db: asyncpg.Connection
) -> None:
    account, user_id = await with_belongings(api, db)
    await delete(api, account)
    types = await db.fetch("SELECT type FROM outbox WHERE payload->>'user_id' = $1", user_id)
    assert {"user.deleted", "session.revoked"} <= {kind for (kind,) in types}
    mail = await db.fetchrow("SELECT * FROM mails WHERE template = 'account_deleted'")
    assert mail is not None
    assert (mail["recipient"], mail["language"]) == (account.email, "en")


async def test_delete_me_frees_the_address_for_a_stranger_who_sees_nothing_of_mine(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account, user_id = await with_belongings(api, db)
    for _ in range(6):
        await api.login(account.email, "wrong")
    await delete(api, account)
    assert (await api.login(account.email)).status == 401
    stranger = await api.sign_up(account.email, "the password of somebody else")
    me = (await api.me(stranger)).data
    assert me["id"] != user_id
    assert (me["name"], me["email_verified"], me["roles"]) == (None, False, ["user"])
    data = (await api.call("GET", EXPORT, token=stranger.access)).data
    assert (len(data["sessions"]), len(data["logins"])) == (1, 1)
    assert [one["action"] for one in data["activity"]] == ["data.exported"]
    assert (data["passkeys"], data["personal_tokens"], data["consents"]) == ([], [], [])
    for path in ("sessions", "logins"):
        assert len((await api.call("GET", f"{ME}/{path}", token=stranger.access)).data) == 1
    assert (await api.call("GET", TOKENS, token=stranger.access)).data == []
    assert (await api.login(account.email, PASSWORD)).status == 401
    assert await verify_history(here.db, here.secrets) > 0


async def test_delete_me_keeps_the_last_admin(api: Api, admin: Account) -> None:
    answer = await delete(api, admin)
    assert answer.status == 409
    assert (await api.me(admin)).status == 200
    assert (await api.login(admin.email)).status == 200


async def test_delete_me_by_both_admins_at_once_leaves_one(
    api: Api, other: Api, admin: Account, db: asyncpg.Connection
) -> None:
    second = await api.sign_up()
    await db.execute(
        "INSERT INTO user_roles SELECT id, 'admin' FROM users WHERE email = $1", second.email
    )
    answers = await asyncio.gather(delete(api, admin), delete(other, second))
    assert sorted(answer.status for answer in answers) == [204, 409]


async def test_delete_me_racing_refreshes_logins_and_tokens_leaves_nothing_that_works(
    api: Api, other: Api, db: asyncpg.Connection
) -> None:
    account, user_id = await with_belongings(api, db)
    body = {"name": "script", "expires_in_days": 1}
    workers = (api, other)
    refreshing = [asyncio.create_task(w.refresh(account.refresh)) for w in workers for _ in "12345"]
    entering = [asyncio.create_task(w.login(account.email)) for w in workers for _ in "12"]
    making = [
        asyncio.create_task(w.call("POST", TOKENS, body, token=account.access))
        for w in workers
        for _ in "12345"
    ]
    await asyncio.sleep(0.03)
    assert (await delete(api, account)).status == 204
    answers = await asyncio.gather(*refreshing, *entering, *making)
    assert {answer.status for answer in answers} <= {200, 201, 401}
    for answer in answers:
        if answer.status == 200:
            assert (await other.me(answer.data["access_token"])).status == 401
            assert (await other.refresh(answer.data["refresh_token"])).status == 401
        if answer.status == 201:
            assert (await other.me(answer.data["token"])).status == 401
    for table in ("sessions", "personal_tokens", "tickets"):
        count = COUNT.format(table, "user_id")
        assert await db.fetchval(count, UUID(user_id)) == 0, table


async def test_delete_me_looks_up_each_table_by_an_index(db: asyncpg.Connection) -> None:
    """However many rows others have, none is read to find those of one account."""
    scanned = await db.fetch(
        """SELECT conrelid::regclass::text FROM pg_constraint
           WHERE contype = 'f' AND confrelid = 'users'::regclass AND conparentid = 0
             AND NOT EXISTS (
               SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1]
                 AND (indpred IS NULL OR pg_get_expr(indpred, indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$')
             )"""
    )
    assert [table for (table,) in scanned] == []


async def test_delete_me_of_somebody_who_signed_in_very_often(
    api: Api, db: asyncpg.Connection
) -> None:
    account, user_id = await with_belongings(api, db)
    await db.execute(
        """INSERT INTO sessions (user_id, expires_at, ip, device)
           SELECT $1, now() + interval '1 day', '::1', '' FROM generate_series(1, 5000)""",
        UUID(user_id),
    )
    assert (await delete(api, account)).status == 204
    assert await db.fetchval("SELECT count(*) FROM sessions WHERE user_id = $1", UUID(user_id)) == 0
