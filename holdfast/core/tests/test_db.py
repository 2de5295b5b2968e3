import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from holdfast.cli.servers import Running, free_port
from holdfast.core.db import (
    WAITERS_PER_CONNECTION,
    Address,
    Database,
    DatabaseAwayError,
    DatabaseBusyError,
)

ENDED = "SELECT pg_terminate_backend($1)"
PID = "SELECT pg_backend_pid()"


async def occupy(db: Database, number: int) -> list[asyncio.Task[int]]:
    """That many callers, each of whom wants a connection for a moment."""
    callers = [asyncio.create_task(db.fetchval("SELECT 1")) for _ in range(number)]
    await asyncio.sleep(0)
    return callers


async def test_a_connection_is_the_apps_own_role_in_its_own_schema(db: Database) -> None:
    (told,) = await db.fetch(
        "SELECT current_user, current_schema, current_setting('TimeZone'),"
        " current_setting('application_name')"
    )
    assert tuple(told) == ("holdfast_identity", "identity", "UTC", "holdfast_identity")


async def test_a_transaction_is_all_or_nothing(db: Database, owner: asyncpg.Connection) -> None:
    insert = "INSERT INTO permissions VALUES ($1, '')"
    with suppress(ZeroDivisionError):
        async with db.transaction() as connection:
            await connection.execute(insert, "a:b")
            raise ZeroDivisionError
    async with db.transaction() as connection:
        await connection.execute(insert, "c:d")
    names = "SELECT name FROM permissions WHERE description = ''"
    assert [row["name"] for row in await owner.fetch(names)] == ["c:d"]


async def test_an_error_in_our_sql_stays_what_it_is(db: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await db.fetch("SELECT * FROM no_such_table")
    with pytest.raises(asyncpg.DataError):
        await db.fetchval("SELECT $1::int", "not a number")


async def test_a_statement_that_takes_too_long_is_busy_and_gives_its_connection_back(
    db: Database,
) -> None:
    await db.execute("SELECT set_config('statement_timeout', '20ms', false)")
    with pytest.raises(DatabaseBusyError):
        await db.execute("SELECT pg_sleep(5)")
    assert db.in_use == 0


async def test_every_statement_and_every_lock_has_a_time_out(db: Database) -> None:
    rows = await db.fetch(
        "SELECT name, setting::int AS ms FROM pg_settings WHERE name ="
        " ANY('{statement_timeout,lock_timeout,idle_in_transaction_session_timeout}')"
    )
    assert len(rows) == 3
    assert all(0 < row["ms"] <= 10_000 for row in rows)


async def test_a_lock_that_is_not_to_be_had_is_busy(
    db: Database, owner: asyncpg.Connection
) -> None:
    async with owner.transaction():
        await owner.execute("SELECT * FROM permissions FOR UPDATE")
        with pytest.raises(DatabaseBusyError):
            await db.fetch("SELECT * FROM permissions FOR UPDATE NOWAIT")


async def test_a_queue_that_is_too_long_is_refused_at_once_and_the_others_in_time(
    address: Address,
) -> None:
    async with Database.open(address, least=1, most=1) as db, db.connection():
        callers = await occupy(db, WAITERS_PER_CONNECTION)
        assert db.waiting == WAITERS_PER_CONNECTION
        with pytest.raises(DatabaseBusyError):
            await db.fetchval("SELECT 1")
        assert not any(caller.done() for caller in callers)
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DatabaseBusyError}
        assert db.waiting == 0


@pytest.mark.usefixtures("patient")
async def test_everyone_who_was_let_wait_is_served(address: Address) -> None:
    async with Database.open(address, least=1, most=2) as db:
        callers = await occupy(db, WAITERS_PER_CONNECTION * 2)
        assert await asyncio.gather(*callers) == [1] * len(callers)
        assert (db.waiting, db.in_use, db.size) == (0, 0, 2)


@pytest.mark.usefixtures("patient")
async def test_callers_who_leave_in_the_middle_leave_no_transaction_behind(
    db: Database, owner: asyncpg.Connection
) -> None:
    async def work() -> None:
        async with db.transaction() as connection:
            await connection.execute("SELECT 1")

    chance = random.Random(7)  # noqa: S311 - not a secret
    for _ in range(100):
        caller = asyncio.create_task(work())
        await asyncio.sleep(chance.random() * 0.003)
        caller.cancel()
        await asyncio.wait([caller])
    left = "SELECT count(*) FROM pg_stat_activity WHERE usename IS NOT NULL AND state LIKE $1"
    assert db.in_use == 0
    assert await owner.fetchval(left + " AND datname = current_database()", "idle in%") == 0
    await asyncio.gather(*(work() for _ in range(10)))


@pytest.mark.parametrize("moment", ["in a statement", "between statements", "before the commit"])
async def test_losing_the_connection_in_a_transaction_is_away(
    db: Database, owner: asyncpg.Connection, moment: str
) -> None:
    async def work() -> None:
        async with db.transaction() as connection:
            pid = await connection.fetchval(PID)
            ending = asyncio.create_task(owner.fetchval(ENDED, pid))
            try:
                if moment == "in a statement":
                    await connection.execute("SELECT pg_sleep(5)")
            finally:
                await ending
            if moment == "between statements":
                await asyncio.sleep(0.01)
                await connection.execute("SELECT 1")

    with pytest.raises(DatabaseAwayError):
        await work()
    assert await db.fetchval("SELECT 1") == 1


@asynccontextmanager
async def on_own_server(server: Running) -> AsyncIterator[Database]:
    address = Address(server.server.url, "holdfast", "public")
    async with Database.open(address, least=2, most=3) as db:
        yield db


@pytest.mark.usefixtures("patient")
async def test_a_server_that_is_away_is_said_to_be_and_comes_back_by_itself(
    own_postgres: Running,
) -> None:
    async with on_own_server(own_postgres) as db:
        assert await db.fetchval("SELECT 1") == 1
        own_postgres.kill()
        for _ in range(5):
            with pytest.raises(DatabaseAwayError):
                await db.fetchval("SELECT 1")
        own_postgres.restart()
        assert await db.fetchval("SELECT 1") == 1
        assert (db.waiting, db.in_use) == (0, 0)


async def test_a_server_that_has_no_room_left_is_busy(
    own_postgres: Running,
) -> None:
    owner = await asyncpg.connect(own_postgres.server.url)
    await owner.execute("CREATE ROLE narrow LOGIN PASSWORD 'narrow' CONNECTION LIMIT 1")
    url = re.sub(r"//.*@", "//narrow:narrow@", own_postgres.server.url)
    try:
        async with Database.open(Address(url, "narrow", "public"), least=1, most=2) as db:
            async with db.connection():
                with pytest.raises(DatabaseBusyError):
                    await db.fetchval("SELECT 1")
            assert await db.fetchval("SELECT 1") == 1
    finally:
        await owner.execute("DROP ROLE narrow")
        await owner.close()


async def test_a_server_that_was_never_there_is_an_error_at_start() -> None:
    nowhere = Address(f"postgresql://a@127.0.0.1:{free_port()}/b", "a", "b")
    with pytest.raises(OSError, match="Connect call failed"):
        async with Database.open(nowhere, least=1, most=1):
            pytest.fail("opened")
