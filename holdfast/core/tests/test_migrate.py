import asyncio
import re
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from holdfast.core.db import Address, Database
from holdfast.core.manifest import App, apps
from holdfast.core.migrate import MigrationError, migrate

Write = Callable[[str, str], None]

_numbers = count(1)


@pytest.fixture
def shop(tmp_path: Path) -> App:
    """An app with no migrations yet; a name of its own, because roles belong to the whole server."""
    (tmp_path / "migrations").mkdir()
    return App(f"shop{next(_numbers)}", "Shop", "", 8100, tmp_path)


@pytest.fixture
def write(shop: App) -> Write:
    def write_migration(name: str, sql: str) -> None:
        (shop.folder / "migrations" / f"{name}.sql").write_text(sql, encoding="utf-8")

    return write_migration


@pytest.fixture
async def outside(empty_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else who is connected to the same database."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)
async def test_a_fresh_database_gets_everything_once_and_in_order(
    empty_database_url: str, app: App
) -> None:
    applied = await migrate(empty_database_url, app)
    assert applied[:1] == ["core/0001_partitions"]
    assert len(applied) == len(list(app.migrations()))
    own = [name for name in applied if not name.startswith("core/")]
    assert applied[-len(own) :] == sorted(own)
    assert await migrate(empty_database_url, app) == []


async def test_an_old_database_gets_what_is_new_and_keeps_what_it_has(
    empty_database_url: str, outside: asyncpg.Connection, shop: App, write: Write
) -> None:
    write("0001_things", "CREATE TABLE things (name text); INSERT INTO things VALUES ('old')")
    await migrate(empty_database_url, shop)
    write("0002_prices", "ALTER TABLE things ADD price_krw bigint NOT NULL DEFAULT 7")
    assert await migrate(empty_database_url, shop) == ["0002_prices"]
    (row,) = await outside.fetch(f"TABLE {shop.schema}.things")
    assert tuple(row) == ("old", 7)


async def test_a_file_that_was_changed_is_refused_before_anything_is_applied(
    empty_database_url: str, outside: asyncpg.Connection, shop: App, write: Write
) -> None:
    write("0002_things", "CREATE TABLE things (name text)")
    await migrate(empty_database_url, shop)
    write("0002_things", "CREATE TABLE things (name text NOT NULL)")
    write("0001_more", "CREATE TABLE more ()")
    with pytest.raises(MigrationError, match=r"0002_things\.sql was changed"):
        await migrate(empty_database_url, shop)
    assert await outside.fetchval(f"SELECT to_regclass('{shop.schema}.more')") is None


async def test_a_file_that_fails_leaves_nothing_of_itself_and_all_before_it(
    empty_database_url: str, outside: asyncpg.Connection, shop: App, write: Write
) -> None:
    write("0001_things", "CREATE TABLE things ()")
    write("0002_wrong", "CREATE TABLE half_done (); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_database_url, shop)
    there = f"SELECT to_regclass('{shop.schema}.' || $1) IS NOT NULL"
    assert await outside.fetchval(there, "things")
    assert not await outside.fetchval(there, "half_done")
    write("0002_wrong", "CREATE TABLE half_done ()")
    assert await migrate(empty_database_url, shop) == ["0002_wrong"]


async def test_a_table_that_stays_locked_is_left_alone(
    empty_database_url: str, outside: asyncpg.Connection, shop: App, write: Write
) -> None:
    write("0001_things", "CREATE TABLE things ()")
    await migrate(empty_database_url, shop)
    patience = "SELECT set_config('lock_timeout', '50ms', true) WHERE"
    patience += " current_setting('lock_timeout')::interval BETWEEN '1s' AND '10s';"
    write("0002_prices", patience + "ALTER TABLE things ADD price_krw bigint")
    async with outside.transaction():
        await outside.execute(f"LOCK TABLE {shop.schema}.things")
        with pytest.raises(MigrationError, match="0002_prices: a table stayed locked"):
            await migrate(empty_database_url, shop)
    assert await migrate(empty_database_url, shop) == ["0002_prices"]


async def test_of_several_who_migrate_at_once_one_does_it_and_all_succeed(
    empty_database_url: str, shop: App, write: Write
) -> None:
    write("0001_things", "CREATE TABLE things ()")
    write("0002_slow", "SELECT pg_sleep(0.1)")
    applied = await asyncio.gather(*(migrate(empty_database_url, shop) for _ in range(3)))
    assert sorted(map(len, applied)) == [0, 0, len(list(shop.migrations()))]


async def test_a_user_without_the_rights_is_told_which(
    empty_database_url: str, outside: asyncpg.Connection, shop: App
) -> None:
    user = f"plain_{shop.name}"
    await outside.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'plain'")
    url = re.sub("//.*@", f"//{user}:plain@", empty_database_url)
    database = empty_database_url.rpartition("/")[2]
    with pytest.raises(MigrationError, match="GRANT CREATE ON DATABASE"):
        await migrate(url, shop)
    await outside.execute(f"GRANT CREATE ON DATABASE {database} TO {user}")
    with pytest.raises(MigrationError, match="CREATEROLE"):
        await migrate(url, shop)
    await outside.execute(f"ALTER USER {user} CREATEROLE")
    assert await migrate(url, shop)


@pytest.fixture
async def two_apps(
    empty_database_url: str, shop: App, write: Write, tmp_path: Path
) -> tuple[App, App]:
    """A shop and its neighbour in one database."""
    write("0001_things", "CREATE TABLE things (name text)")
    neighbour = App(f"neighbour_of_{shop.name}", "Neighbour", "", 8101, tmp_path)
    for one in (shop, neighbour):
        await migrate(empty_database_url, one)
    return shop, neighbour


async def test_an_apps_role_uses_the_rows_of_its_own_schema(
    empty_database_url: str, two_apps: tuple[App, App]
) -> None:
    shop, _ = two_apps
    address = Address(empty_database_url, shop.role, shop.schema)
    async with Database.open(address, least=1, most=1) as db:
        await db.execute("INSERT INTO things VALUES ('a')")
        await db.execute("UPDATE things SET name = 'b'")
        assert await db.fetchval("SELECT name FROM things") == "b"
        await db.execute("DELETE FROM things")


async def test_an_apps_role_may_do_nothing_else(
    empty_database_url: str, two_apps: tuple[App, App]
) -> None:
    shop, neighbour = two_apps
    address = Address(empty_database_url, shop.role, shop.schema)
    forbidden = [
        f"TABLE {neighbour.schema}.things",
        f"COPY {neighbour.schema}.things FROM STDIN",
        f"SELECT {neighbour.schema}.keep_partitions()",
        "CREATE TABLE more ()",
        "CREATE TABLE public.more ()",
        "ALTER TABLE things ADD price_krw bigint",
        "TRUNCATE things",
        "DROP TABLE things",
        "UPDATE migrations SET digest = ''",
        "DELETE FROM migrations",
        "CREATE ROLE anybody",
    ]
    async with Database.open(address, least=1, most=1) as db:
        everybody_may = "SELECT has_function_privilege('public', 'keep_partitions()', 'EXECUTE')"
        assert not await db.fetchval(everybody_may)
        for statement in forbidden:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)
