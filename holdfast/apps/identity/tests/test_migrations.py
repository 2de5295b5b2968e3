"""Migrations: whoever had an account before them signs in after them.

Each stage of the schema that was ever released gets rows as they were then, and is brought to the
newest. These rows never change; a migration that makes tables adds its own. What is not tested
here yet is old code on the new schema: there is no older release whose code could be run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest

from holdfast.apps.identity.access.rules import PERSONAL, write_carried
from holdfast.apps.identity.history.actions import verify_history
from holdfast.apps.identity.history.rules import Attempt, digests
from holdfast.apps.identity.keys.rules import make_key, seal
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.sessions import rules
from holdfast.apps.identity.tests.api import Api, worker
from holdfast.apps.identity.tests.conftest import SECRET
from holdfast.core.manifest import App, find
from holdfast.core.migrate import migrate
from holdfast.core.settings import Settings

IDENTITY = find("identity")
STAGES = [path.stem for path in IDENTITY.migrations() if path.is_relative_to(IDENTITY.folder)]
SECRETS = Secrets(SECRET)

ADA = UUID("0199a8f1-02d7-7e10-8b35-c4d2a9e6f001")
EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
BCRYPT = "$2b$04$Zw2CR0ZLZQAOrMFqTvkx3e3vgciSK0o5GxYDqa0CsOWCOjsxx6ZHO"  # of that password
TOKEN = rules.first_token(ADA, datetime.now(UTC).replace(microsecond=0) + timedelta(days=1))
KEY = make_key("Ed25519")
PERSONAL_TOKEN = UUID("0199a8f3-7c20-7a15-b0de-62c1f4a98d07")


@dataclass(frozen=True, kw_only=True)
class Earlier(App):
    """Identity as it was when this was its last migration."""

    last: str

    def migrations(self) -> Iterator[Path]:
        for path in super().migrations():
            yield path
            if path.stem == self.last:
                return


async def add_accounts(db: asyncpg.Connection) -> None:
    await db.execute("INSERT INTO roles VALUES ('editor', 'Writes posts')")
    await db.execute("INSERT INTO users (id, email, name) VALUES ($1, $2, 'Ada')", ADA, EMAIL)
    await db.execute("INSERT INTO credentials VALUES ($1, $2)", ADA, BCRYPT)
    await db.execute("INSERT INTO user_roles SELECT $1, unnest(ARRAY['editor', 'user'])", ADA)


async def add_sessions(db: asyncpg.Connection) -> None:
    session_id = await db.fetchval(
        """INSERT INTO sessions (expires_at, user_id, ip, device)
           VALUES ($1, $2, '203.0.113.7', 'from before') RETURNING id""",
        TOKEN.expires_at,
        ADA,
    )
    await db.execute(
        "INSERT INTO refresh_tokens VALUES ($1, $2, $3)", TOKEN.hash, TOKEN.expires_at, session_id
    )


async def add_logins(db: asyncpg.Connection) -> None:
    at = datetime.now(UTC)
    account = SECRETS.sign("account", EMAIL.encode())
    attempt = Attempt(account, ADA, ip_address("203.0.113.7"), "from before", "succeeded")
    (digest,) = digests(SECRETS, b"", at, 1, [attempt])
    period = await db.fetchval(
        """INSERT INTO login_chains
           VALUES (date_bin('28 days', $1, '2000-01-03 00:00+00'), 1, '', $2) RETURNING period""",
        at,
        digest,
    )
    await db.execute(
        "INSERT INTO login_history VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8)",
        *(period, at, *attempt, digest),
    )


async def add_signing_keys(db: asyncpg.Connection) -> None:
    await db.execute(
        "INSERT INTO signing_keys VALUES ($1, 'Ed25519', $2, $3, now(), NULL)",
        KEY.kid,
        msgspec.json.encode(KEY.as_dict(private=False)).decode(),
        seal(KEY, SECRETS.key("signing keys")),
    )


async def add_people(db: asyncpg.Connection) -> None:
    await db.execute(
        "UPDATE users SET email_verified_at = now(), language = 'ko' WHERE id = $1", ADA
    )
    await db.execute(
        "INSERT INTO audit_log (actor_id, user_id, action, facts) VALUES ($1, $1, 'test', '{}')",
        ADA,
    )


async def add_factors(db: asyncpg.Connection) -> None:
    await db.execute(
        """INSERT INTO passkeys
             (credential_id, user_id, name, public_key, sign_count, transports, backed_up)
           VALUES ('\\x01', $1, 'Phone', '\\x02', 0, '{}', true)""",
        ADA,
    )
    await db.execute("INSERT INTO oauth_accounts VALUES ('google', '1', $1, $2)", ADA, EMAIL)


async def add_clients(db: asyncpg.Connection) -> None:
    await db.execute(
        """INSERT INTO clients
           VALUES ('shop', 'Shop', NULL, '{https://shop.example/in}', '{}', '{openid}', false)"""
    )
    await db.execute("INSERT INTO consents VALUES ($1, 'shop', '{openid}')", ADA)
    await db.execute(
        """INSERT INTO personal_tokens (id, user_id, name, expires_at)
           VALUES ($1, $2, 'Backup', $3)""",
        PERSONAL_TOKEN,
        ADA,
        TOKEN.expires_at,
    )


ROWS = {
    "0001_accounts": add_accounts,
    "0002_sessions": add_sessions,
    "0003_logins": add_logins,
    "0004_signing_keys": add_signing_keys,
    "0005_people": add_people,
    "0006_factors": add_factors,
    "0007_clients": add_clients,
}

WHAT_THERE_IS = (
    "SELECT * FROM migrations ORDER BY name",
    "SELECT * FROM role_permissions ORDER BY role, permission",
    """SELECT table_name, column_name, data_type, column_default, is_nullable
       FROM information_schema.columns WHERE table_schema = 'identity' ORDER BY 1, 2""",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'identity' ORDER BY indexname",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
       WHERE connamespace = 'identity'::regnamespace ORDER BY 1, 2""",
    """SELECT table_name, grantee, privilege_type FROM information_schema.table_privileges
       WHERE table_schema = 'identity' ORDER BY 1, 2, 3""",
)


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """In this module nothing is migrated before its time."""
    return empty_database_url


async def test_a_fresh_database_is_migrated_and_serves(
    database_url: str, environ: dict[str, str]
) -> None:
    assert [name for name in await migrate(database_url, IDENTITY) if name in STAGES] == STAGES
    async with worker(environ) as (url, _), Api.at(url) as api:
        assert (await api.me(await api.sign_up())).status == 200


async def test_to_migrate_twice_changes_nothing(database_url: str, db: asyncpg.Connection) -> None:
    await migrate(database_url, IDENTITY)
    before = [await db.fetch(question) for question in WHAT_THERE_IS]
    assert all(before)
    assert await migrate(database_url, IDENTITY) == []
    assert [await db.fetch(question) for question in WHAT_THERE_IS] == before


@pytest.mark.parametrize("stage", STAGES)
async def test_who_had_an_account_before_signs_in_after(
    database_url: str, db: asyncpg.Connection, environ: dict[str, str], stage: str
) -> None:
    reached = STAGES[: STAGES.index(stage) + 1]
    await migrate(database_url, Earlier(**vars(IDENTITY), last=stage))
    await db.execute("SELECT keep_partitions()")
    for name in reached:
        await ROWS[name](db)
    assert await migrate(database_url, IDENTITY) == STAGES[len(reached) :]

    async with worker(environ) as (url, _), Api.at(url) as api:
        assert (await api.refresh(rules.write(TOKEN, SECRETS))).status == (
            200 if "0002_sessions" in reached else 401
        )
        ada = await api.sign_in(EMAIL, PASSWORD)
        me = (await api.me(ada)).data
        assert (me["id"], me["name"], me["roles"]) == (str(ADA), "Ada", ["editor", "user"])
        assert (me["email_verified"], me["language"]) == (
            (True, "ko") if "0005_people" in reached else (False, "en")
        )
        sessions = await api.call("GET", "/api/v1/users/me/sessions", token=ada.access)
        assert len(sessions.data) == 1 + ("0002_sessions" in reached)
        logins = await api.call("GET", "/api/v1/users/me/logins", token=ada.access)
        assert len(logins.data) == 1 + ("0003_logins" in reached)
        activity = await api.call("GET", "/api/v1/users/me/activity", token=ada.access)
        assert [one["action"] for one in activity.data] == ["test"] * ("0005_people" in reached)
        export = await api.call("GET", "/api/v1/users/me/export", token=ada.access)
        for kind, since in (
            ("passkeys", "0006_factors"),
            ("linked_accounts", "0006_factors"),
            ("consents", "0007_clients"),
        ):
            assert len(export.data[kind]) == (since in reached)
        token = write_carried(PERSONAL, PERSONAL_TOKEN, TOKEN.expires_at, SECRETS)
        assert (await api.me(token)).status == (200 if "0007_clients" in reached else 401)
        keys = (await api.call("GET", "/.well-known/jwks.json")).body["keys"]
        assert len(keys) == 1
        assert (keys[0]["kid"] == KEY.kid) == ("0004_signing_keys" in reached)
    async with Identity.open(Settings.load(environ), Options()) as here:
        assert await verify_history(here.db, here.secrets) == len(logins.data)
