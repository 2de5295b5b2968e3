"""Reads from a replica: a real one, streaming from a primary of its own."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from holdfast.cli import tether
from holdfast.cli.servers import Running, free_port, postgres, running
from holdfast.core.db import Address, Database

IS_REPLICA = "SELECT pg_is_in_recovery()"


@pytest.fixture
def replica(own_postgres: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Copied from the primary, whose password it therefore has, and following it from then on."""
    server = postgres(tmp_path_factory.mktemp("replica"), free_port(), {"fsync": "off"})
    program = Path(own_postgres.server.argv[own_postgres.server.argv.index("--") + 1])
    copy: list[str | Path] = [
        program.with_name("pg_basebackup"),
        f"--dbname={own_postgres.server.url}",
        f"--pgdata={server.data / 'cluster'}",
        "--checkpoint=fast",
        "--write-recovery-conf",
        "--no-sync",
    ]
    subprocess.run(  # noqa: S603 - every argument is ours
        tether.argv(*copy, when_orphaned=SIGKILL, folder=server.data, not_root=True), check=True
    )
    with running(server) as started:
        yield started


def same_user(primary: str, replica: str) -> str:
    port = urlsplit(replica).port
    place = urlsplit(primary)
    return urlunsplit(place._replace(netloc=place.netloc.replace(str(place.port), str(port))))


async def test_a_reader_goes_to_the_replica_unless_its_own_writes_are_not_there_yet(
    own_postgres: Running, replica: Running
) -> None:
    primary_url = own_postgres.server.url
    replica_url = same_user(primary_url, replica.server.url)
    address = Address(primary_url, "holdfast", "public", replica_url)
    control = await asyncpg.connect(replica_url)
    async with Database.open(address, least=1, most=2) as db:
        await db.execute("CREATE TABLE notes (text text)")
        written = await db.position()
        while True:
            async with db.reader(after=written) as reader:
                if await reader.fetchval(IS_REPLICA):
                    break
        await control.execute("SELECT pg_wal_replay_pause()")
        await db.execute("INSERT INTO notes VALUES ('mine')")
        written = await db.position()
        async with db.reader() as reader:
            assert await reader.fetchval(IS_REPLICA)
            assert await reader.fetch("SELECT * FROM notes") == []
        async with db.reader(after=written) as reader:
            assert not await reader.fetchval(IS_REPLICA)
            assert await reader.fetchval("SELECT text FROM notes") == "mine"
        replica.kill()
        assert db._replica
        while db._replica.get_size():  # until the loop has heard that the connections are gone
            await asyncio.sleep(0.01)
        async with db.reader() as reader:
            assert not await reader.fetchval(IS_REPLICA)
        assert db.in_use == 0
        await db.execute("DROP TABLE notes")
    control.terminate()
    async with Database.open(address, least=1, most=2) as db, db.reader() as reader:
        assert not await reader.fetchval(IS_REPLICA)
