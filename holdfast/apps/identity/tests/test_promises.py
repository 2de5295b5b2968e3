"""What identity promises in a line each, where no file of tests bears the promise's name."""

import tomllib
from pathlib import Path

import asyncpg
from joserfc import jwt
from joserfc.jwk import KeySet

from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Api
from holdfast.apps.identity.tests.lanes import keep_closed
from holdfast.core.partitions import keep_partitions

LIMITS = Path(__file__).parents[1] / "limits.toml"
MAKE_AN_OLD_PARTITION = """
    CREATE TABLE {parent}_20200106 PARTITION OF {parent}
      FOR VALUES FROM ('2020-01-06 00:00+00') TO ('2020-01-13 00:00+00')"""


async def test_envelope_is_data_or_a_problem(api: Api) -> None:
    account = await api.sign_up()
    good, bad = await api.me(account), await api.me("no token")
    assert list(good.body) == ["data"]
    assert good.headers["Content-Type"] == "application/json"
    assert {"type", "title", "status", "detail"} <= bad.body.keys()
    assert bad.headers["Content-Type"] == "application/problem+json"


async def test_access_tokens_are_verified_by_what_discovery_names(api: Api) -> None:
    account = await api.sign_up()
    told = (await api.call("GET", "/.well-known/openid-configuration")).body
    keys = (await api.call("GET", told["jwks_uri"].removeprefix(told["issuer"]))).body
    token = jwt.decode(account.access, KeySet.import_key_set(keys), algorithms=["Ed25519"])
    assert token.header.keys() == {"alg", "kid", "typ"}
    assert {"iss", "aud", "sub", "exp", "iat", "jti", "sid", "client_id"} <= token.claims.keys()
    assert token.claims["iss"] == told["issuer"]


async def test_immediate_effect_of_a_logout_on_another_worker(api: Api, other: Api) -> None:
    account = await api.sign_up()
    assert (await other.me(account)).status == 200  # and is remembered there
    await api.call("POST", "/api/v1/auth/logout", token=account.access)
    assert (await other.me(account)).status == 401


async def test_brute_force_closes_the_strangers_lane_and_not_the_owners(
    api: Api, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await api.sign_up()
    wrong = [(await api.login(account.email, f"a guess, number {n}")).status for n in range(6)]
    assert wrong == [401] * 5 + [429]
    assert (await api.login(account.email)).status == 429
    assert (await api.login(account.email, device=account.device)).status == 200


def test_limits_by_environment_are_those_that_were_promised() -> None:
    told = tomllib.loads(LIMITS.read_text(encoding="utf-8"))
    wanted = {
        "development": {"login": "10/min ip", "register": "5/min ip", "refresh": "20/min ip"},
        "production": {
            "login": "5/min ip",
            "register": "3/h ip",
            "refresh": "30/min user",
            "users": "1000/min user",
            "everything": "50000/min all",
        },
    }
    assert {profile: wanted[profile].items() - told[profile].items() for profile in wanted} == {
        "development": set(),
        "production": set(),
    }


async def test_hashing_is_argon2id_of_the_whole_password(api: Api, db: asyncpg.Connection) -> None:
    long = PASSWORD * 3
    account = await api.sign_up(password=f"{long} one")
    assert len(long) > 72
    assert (await api.login(account.email, f"{long} two")).status == 401
    stored = await db.fetchval("SELECT password_hash FROM credentials")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await api.login(account.email, "x" * 1025)).status == 422


async def test_events_tell_what_was_committed(
    api: Api, db: asyncpg.Connection, admin: Account
) -> None:
    account = await api.sign_up()
    user = (await api.me(account)).data["id"]
    await api.call("PUT", f"/api/v1/admin/users/{user}/roles/admin", token=admin.access)
    await api.call("DELETE", f"/api/v1/admin/users/{user}/roles/admin", token=admin.access)
    await api.call("DELETE", "/api/v1/users/me", token=account.access)
    told = await db.fetch(
        "SELECT type FROM outbox WHERE payload->>'user_id' = $1 ORDER BY id", user
    )
    assert [row["type"] for row in told] == [
        *("user.registered", "role.changed", "role.changed", "session.revoked", "user.deleted")
    ]


async def test_clean_up_drops_partitions_and_deletes_no_row(
    here: Identity, db: asyncpg.Connection
) -> None:
    for parent in ("refresh_tokens", "sessions", "login_history", "tickets"):
        await db.execute(MAKE_AN_OLD_PARTITION.format(parent=parent))
    await keep_partitions(here.db)
    left = await db.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_20200106'")
    assert left == 0
