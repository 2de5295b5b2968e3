"""The doctor's look at servers that are named by DATABASE_URL and REDIS_URL.

Reachable, recent enough, the rights that migrations need, and a clock that agrees with ours:
tokens and leases are judged by time.
"""

from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from holdfast.cli.finding import Finding, fail, ok, warn

TIMEOUT_S = 5
OLDEST_POSTGRES = 18  # uuidv7() is asked of the server
OLDEST_REDIS = (6, 2)
CLOCK_OFF_S = 0.5


async def database(url: str | None) -> list[Finding]:
    if not url:
        return [ok("DATABASE_URL", "not set; `holdfast up` starts its own PostgreSQL")]
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        told = str(error) or f"no answer within {TIMEOUT_S} s"
        return [fail("DATABASE_URL", f"cannot connect: {told}. Is the address right, and open?")]
    try:
        return [_postgres_version(connection), *await _rights(connection), await _clock(connection)]
    finally:
        await connection.close()


def _postgres_version(connection: "asyncpg.Connection[Any]") -> Finding:
    found = connection.get_server_version()
    if found.major >= OLDEST_POSTGRES:
        return ok("DATABASE_URL", f"PostgreSQL {found.major}.{found.minor}")
    return fail(
        "DATABASE_URL", f"PostgreSQL {found.major} is too old; {OLDEST_POSTGRES} is needed."
    )


async def _rights(connection: "asyncpg.Connection[Any]") -> list[Finding]:
    row = await connection.fetchrow(
        """SELECT current_user AS who, current_database() AS place,
                  has_database_privilege(current_database(), 'CREATE') AS may_create,
                  rolcreaterole OR rolsuper AS may_create_roles
             FROM pg_roles WHERE rolname = current_user"""
    )
    if not row:
        return [fail("rights", "The server does not know the user that it let in.")]
    findings = []
    if not row["may_create"]:
        mend = f"GRANT CREATE ON DATABASE {row['place']} TO {row['who']};"
        findings.append(fail("rights", f"{row['who']} may not create schemas. Run: {mend}"))
    if not row["may_create_roles"]:
        mend = f"ALTER ROLE {row['who']} CREATEROLE;"
        findings.append(fail("rights", f"{row['who']} may not create roles. Run: {mend}"))
    return findings or [ok("rights", f"{row['who']} may create schemas and roles")]


async def _clock(connection: "asyncpg.Connection[Any]") -> Finding:
    before = datetime.now(UTC)
    theirs = await connection.fetchval("SELECT clock_timestamp()")
    after = datetime.now(UTC)
    off_s = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0)
    if off_s < CLOCK_OFF_S:
        return ok("clock", "agrees with the database's")
    return warn("clock", f"{off_s:.1f} s away from the database's; run NTP on both machines.")


async def redis(url: str | None) -> list[Finding]:
    if not url:
        return [ok("REDIS_URL", "not set; `holdfast up` starts its own Valkey")]
    try:
        client = Redis.from_url(url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S)
        async with aclosing(client):
            told = await client.info("server")
    except (OSError, ValueError, RedisError) as error:
        return [fail("REDIS_URL", f"cannot connect: {error}. Is the address right, and open?")]
    found = str(told["redis_version"])
    if tuple(map(int, found.split(".")[:2])) >= OLDEST_REDIS:
        return [ok("REDIS_URL", f"speaks Redis {found}")]
    return [fail("REDIS_URL", f"Redis {found} is too old; 6.2 or newer, or Valkey, is needed.")]
