"""Migrations: versioned SQL files, applied once each, in order, by one process at a time.

An app's schema gets the core's tables first, then the app's own files. A file runs in one
transaction with a short lock time-out, so that a migration that cannot get its lock gives up
instead of stopping the service. A file that was changed after it was applied is refused. Files go
forward only, and must leave the old code running: there is no way down.

The app's role is made here too: it may use its own schema's rows, and nothing else.
"""

from __future__ import annotations  # asyncpg's classes are generic to the checker only

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg

from holdfast.core.manifest import CORE_MIGRATIONS, App

LOCK = 4_857_012  # any number, the same for every process that migrates
LOCK_TIMEOUT = "5s"


class MigrationError(Exception):
    """The schema could not be brought up to date; the sentence says what to do."""


@dataclass(frozen=True)
class Migration:
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


async def migrate(database_url: str, app: App) -> list[str]:
    """Bring the app's schema up to date; answers the names of what was applied."""
    connection = await asyncpg.connect(
        database_url, server_settings={"search_path": f"{app.schema}, pg_temp"}
    )
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await _prepare(connection, app)
        applied = [await _apply(connection, migration) for migration in await _due(connection, app)]
        await _grant(connection, app)
        return applied
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"{error}. DATABASE_URL must be a user who may create schemas and roles:"
            " GRANT CREATE ON DATABASE ... TO user; ALTER USER user CREATEROLE."
        ) from error
    finally:
        await connection.close()


def migrations(app: App) -> Iterator[Migration]:
    for path in app.migrations():
        yield Migration(_name(path), path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    return f"core/{path.stem}" if path.parent == CORE_MIGRATIONS else path.stem


async def _prepare(connection: asyncpg.Connection[Any], app: App) -> None:
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {app.schema}")
    await connection.execute(
        """CREATE TABLE IF NOT EXISTS migrations (
             name text PRIMARY KEY,
             digest text NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now()
           )"""
    )
    known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", app.role)
    if not known:
        await connection.execute(f"CREATE ROLE {app.role} NOLOGIN")
    await connection.execute(f"GRANT {app.role} TO CURRENT_USER")


async def _due(connection: asyncpg.Connection[Any], app: App) -> list[Migration]:
    applied = dict(await connection.fetch("SELECT name, digest FROM migrations"))
    due = []
    for migration in migrations(app):
        digest = applied.get(migration.name)
        if digest is None:
            due.append(migration)
        elif digest != migration.digest:
            raise MigrationError(
                f"{app.name}: {migration.name}.sql was changed after it had been applied."
                " Put it back as it was, and write the change as a new file."
            )
    return due


async def _apply(connection: asyncpg.Connection[Any], migration: Migration) -> str:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO migrations (name, digest) VALUES ($1, $2)",
                migration.name,
                migration.digest,
            )
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            f"{migration.name}: a table stayed locked for {LOCK_TIMEOUT}; nothing was changed."
            " Run it again when the long transaction has ended."
        ) from error
    return migration.name


async def _grant(connection: asyncpg.Connection[Any], app: App) -> None:
    schema, role = app.schema, app.role
    await connection.execute(
        f"""GRANT USAGE ON SCHEMA {schema} TO {role};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
            GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
            REVOKE INSERT, UPDATE, DELETE ON migrations, partition_plans FROM {role};
            REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC;
            GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}"""
    )
