"""The SQL of the repository against the schema that the migrations really make."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import asyncpg
import pytest

from checks.sqlc.pipeline import Source, generate, sources
from holdfast.core.db import Address
from holdfast.core.manifest import App, apps


async def test_generated_modules_are_up_to_date(database_url: str, repository: Path) -> None:
    wanted = generate(database_url)
    stale = [
        str(path.relative_to(repository))
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, f"Run `make sql`, which will write anew: {', '.join(stale)}"


def test_every_generated_module_has_its_sql(repository: Path) -> None:
    orphans = [
        str(path.relative_to(repository))
        for path in (repository / "holdfast").rglob("queries.py")
        if not path.with_suffix(".sql").exists()
    ]
    assert not orphans, f"Delete these, whose queries.sql is gone: {', '.join(orphans)}"


async def test_every_statement_can_be_run_by_its_app(database_url: str) -> None:
    refused = [
        f"{source.statements}: {name}: {why}"
        for source in sources()
        for name, why in await _refusals(database_url, source.app, dict(_statements(source)))
    ]
    assert not refused, "PostgreSQL refuses these to the app's own role:\n" + "\n".join(refused)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT nothing_like_this FROM migrations", "does not exist"),
        ("DELETE FROM migrations WHERE name = $1", "permission denied"),
        ("SELECT 1 WHERE $1 = 'text'::bytea + 1", "operator does not exist"),
    ],
)
async def test_a_statement_that_cannot_run_is_reported(
    database_url: str, statement: str, why: str
) -> None:
    [(name, told)] = await _refusals(
        database_url, apps()[0], {"BAD": statement, "GOOD": "SELECT 1"}
    )
    assert name == "BAD"
    assert why in told


def _statements(source: Source) -> Iterator[tuple[str, str]]:
    path = ".".join(source.module.with_suffix("").parts)
    module = import_module(path[path.rindex("holdfast.") :])
    for name, value in vars(module).items():
        if name.isupper() and isinstance(value, str):
            yield name, value


async def _refusals(url: str, app: App, statements: dict[str, str]) -> list[tuple[str, str]]:
    """A plan for unknown arguments asks for all that running would need, rights included."""
    settings = Address(url, app.role, app.schema).settings()
    connection = await asyncpg.connect(url, server_settings=settings)
    refused = []
    try:
        for name, statement in statements.items():
            try:
                await connection.prepare(statement)
                await connection.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
            except asyncpg.PostgresError as error:
                refused.append((name, str(error)))
    finally:
        await connection.close()
    return refused
