"""Real servers for every test: started once, and a database of one's own copied in 0.1 s."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import settings
from redis.asyncio import Redis

from holdfast.cli.servers import Running, free_port, postgres, running, valkey
from holdfast.core.manifest import apps
from holdfast.core.migrate import migrate
from holdfast.core.serve import take_all_files
from holdfast.core.tests.kafka import kafka, why_not

TEMPLATE = "holdfast_template"
FASTER_THAN_SAFE = {
    "fsync": "off",
    "max_connections": "300",
    "max_wal_size": "256MB",
    "shared_buffers": "64MB",
}
MEMORY = Path("/dev/shm")  # noqa: S108 - it is the point of it
ROOM = 4 * 2**30
_numbers = count(1)

settings.register_profile("unhurried", deadline=None)  # else a busy machine refutes a property
settings.load_profile("unhurried")
take_all_files()  # a crowd and the worker that it comes to are often in this one process


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with (
        _quick_folder(tmp_path_factory.mktemp("postgres")) as data,
        running(postgres(data, free_port(), FASTER_THAN_SAFE)) as server,
    ):
        yield server


@contextmanager
def _quick_folder(otherwise: Path) -> Iterator[Path]:
    """In memory, where there is room: a database of one's own is copied five times as fast there."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield otherwise
        return
    for left in MEMORY.glob("holdfast-tests-*-*"):  # by a run that was killed
        if not Path(f"/proc/{left.name.split('-')[2]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"holdfast-tests-{os.getpid()}-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(valkey(tmp_path_factory.mktemp("valkey"), free_port())) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Whoever kills it restarts it."""
    if reason := why_not():
        pytest.skip(reason)
    with running(kafka(tmp_path_factory.mktemp("kafka"), free_port())) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Running) -> str:
    return postgres_server.server.url


@pytest.fixture(scope="session")
def valkey_url(valkey_server: Running) -> str:
    return valkey_server.server.url


@pytest.fixture(scope="session")
def template_url(postgres_url: str) -> str:
    """A database with every app's schema, to be copied and never to be used."""

    async def make() -> None:
        await _run_sql(postgres_url, f"CREATE DATABASE {TEMPLATE}")
        for app in apps():
            await migrate(database_at(postgres_url, TEMPLATE), app)

    asyncio.run(make())
    return database_at(postgres_url, TEMPLATE)


@pytest.fixture
async def database_url(postgres_url: str, template_url: str) -> AsyncIterator[str]:
    """A fresh, migrated database."""
    async with fresh_database(postgres_url, f"TEMPLATE {TEMPLATE} STRATEGY file_copy") as url:
        yield url


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    async with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
async def redis_url(valkey_url: str) -> str:
    """An empty Redis."""
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    return valkey_url


@asynccontextmanager
async def fresh_database(server_url: str, how: str = "") -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await _run_sql(server_url, f"CREATE DATABASE {name} {how}")
    yield database_at(server_url, name)
    await _run_sql(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def database_at(server_url: str, name: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


async def _run_sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parent


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Give each operation's test of a contract an id of its own: of equal ones only one would run."""
    for item in items:
        if label := getattr(item, "operation_label", None):
            item._id = item._id.with_params(label)  # noqa: SLF001 - there is no other way
