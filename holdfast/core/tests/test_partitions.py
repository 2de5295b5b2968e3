import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from holdfast.core.db import Address, Database, Executor
from holdfast.core.manifest import App
from holdfast.core.migrate import migrate
from holdfast.core.partitions import keep_partitions
from holdfast.core.tests.conftest import LockWaiters

BOUNDS = """
SELECT relname AS name, bounds[1]::timestamptz AS begins, bounds[2]::timestamptz AS ends
FROM pg_inherits JOIN pg_class ON oid = inhrelid,
  regexp_match(pg_get_expr(relpartbound, oid), 'FROM \\(''(.*)''\\) TO \\(''(.*)''\\)') AS bounds
WHERE inhparent = $1::regclass ORDER BY begins"""
A_DAY_S, A_TEST_S = 86_400, 30


@pytest.fixture(autouse=True)
async def _of_today(patient: None, db: Database) -> None:
    """What tests copy may have been migrated before midnight, and no test is for two days."""
    left_s = A_DAY_S - time.time() % A_DAY_S
    if left_s < A_TEST_S:
        await asyncio.sleep(left_s + 0.1)
    await keep_partitions(db)


async def partitions(db: Executor, parent: str) -> list[asyncpg.Record]:
    return list(await db.fetch(BOUNDS, parent))


async def plan(owner: asyncpg.Connection, ahead: int, keep: str) -> None:
    """A table of events with partitions of a week."""
    await owner.execute(
        """CREATE TABLE things (at timestamptz NOT NULL) PARTITION BY RANGE (at);
           GRANT ALL ON things TO holdfast_identity"""
    )
    insert = "INSERT INTO partition_plans VALUES ('things', '7 days', $1, $2::text::interval)"
    await owner.execute(insert, ahead, keep)


async def test_migrations_make_the_partitions_that_their_plans_want(
    empty_database_url: str, app: App
) -> None:
    await migrate(empty_database_url, app)
    address = Address(empty_database_url, app.role, app.schema)
    async with Database.open(address, least=1, most=1) as db:
        assert await keep_partitions(db) == 0
        for wanted in await db.fetch("SELECT parent, step, ahead FROM partition_plans"):
            made = await partitions(db, wanted["parent"])
            assert len(made) == wanted["ahead"] + 1
            assert made[0]["begins"] <= datetime.now(UTC) < made[0]["ends"]
            assert {part["ends"] - part["begins"] for part in made} == {wanted["step"]}


async def test_rows_find_a_partition_now_and_as_far_ahead_as_planned(
    db: Database, owner: asyncpg.Connection
) -> None:
    await plan(owner, ahead=2, keep="0 days")
    assert await keep_partitions(db) == 3
    now = datetime.now(UTC)
    for weeks in range(3):
        await db.execute("INSERT INTO things VALUES ($1)", now + timedelta(weeks=weeks))
    with pytest.raises(asyncpg.CheckViolationError):
        await db.execute("INSERT INTO things VALUES ($1)", now + timedelta(weeks=3))


async def test_a_partition_goes_when_all_of_it_is_old(
    db: Database, owner: asyncpg.Connection
) -> None:
    await plan(owner, ahead=0, keep="7 days")
    await keep_partitions(db)
    (current,) = await partitions(owner, "things")
    for weeks in (1, 2, 3):
        begins = current["begins"] - timedelta(weeks=weeks)
        await owner.execute(
            f"CREATE TABLE things_{begins:%Y%m%d} PARTITION OF things"
            f" FOR VALUES FROM ('{begins}') TO ('{begins + timedelta(weeks=1)}')"
        )
    assert await keep_partitions(db) == 2
    left = [part["begins"] for part in await partitions(owner, "things")]
    assert left == [current["begins"] - timedelta(weeks=1), current["begins"]]
    assert await keep_partitions(db) == 0


async def test_partitions_join_without_a_gap_wherever_the_owner_lives(
    db: Database, owner: asyncpg.Connection
) -> None:
    a_year = 53  # and with it both changes of the clock
    await plan(owner, ahead=a_year, keep="7 days")
    await owner.execute("SET timezone = 'Europe/Berlin'")
    await owner.fetchval("SELECT keep_partitions()")
    made = await partitions(owner, "things")
    assert len(made) == a_year + 1
    assert all(one["ends"] == following["begins"] for one, following in pairwise(made))
    assert await keep_partitions(db) == 0


async def test_the_app_may_ask_for_what_is_planned_and_change_nothing(
    db: Database, owner: asyncpg.Connection
) -> None:
    (first, *_) = await partitions(owner, "outbox")
    forbidden = [
        "UPDATE partition_plans SET keep = '0'",
        "DELETE FROM partition_plans",
        "INSERT INTO partition_plans VALUES ('users', '1 day', 0, '0')",
        "CREATE OR REPLACE FUNCTION keep_partitions() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        f"DROP TABLE {first['name']}",
        f"ALTER TABLE outbox DETACH PARTITION {first['name']}",
        "DROP FUNCTION keep_partitions()",
    ]
    for statement in forbidden:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(statement)
    assert await db.fetchval("SELECT count(*) FROM partition_plans") > 0


async def test_a_name_in_the_callers_path_does_not_lead_the_owner_astray(db: Database) -> None:
    async with db.transaction() as connection:
        await connection.execute("SET LOCAL search_path = pg_temp, public")
        assert await connection.fetchval("SELECT identity.keep_partitions()") == 0


async def test_several_who_keep_partitions_at_once_do_it_once(
    db: Database, owner: asyncpg.Connection, lock_waiters: LockWaiters
) -> None:
    await plan(owner, ahead=2, keep="7 days")
    async with owner.transaction():
        await owner.execute("LOCK TABLE things")
        keeping = [asyncio.create_task(keep_partitions(db)) for _ in range(3)]
        await lock_waiters(3)
    assert sorted(await asyncio.gather(*keeping)) == [0, 0, 3]
