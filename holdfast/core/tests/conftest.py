"""What several of the core's tests stand on: an app's view of a database, and its owner's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from redis.asyncio import Redis

from holdfast.cli.servers import Running, free_port, postgres, running, valkey
from holdfast.core.broker import kafka
from holdfast.core.db import Address, Database
from holdfast.core.manifest import App, find
from holdfast.core.redis import connect
from holdfast.core.settings import Settings
from holdfast.core.tests.patience import be_patient
from holdfast.core.tests.wires import KafkaWire, RedisWire, Wire


@pytest.fixture
def app() -> App:
    return find("identity")


@pytest.fixture
def address(database_url: str, app: App) -> Address:
    return Address(database_url, app.role, app.schema)


@pytest.fixture
async def db(address: Address) -> AsyncIterator[Database]:
    async with Database.open(address, least=1, most=4) as opened:
        yield opened


@pytest.fixture
async def owner(address: Address) -> AsyncIterator[asyncpg.Connection]:
    """The view of whoever migrated: it may look, and do, what the app's role may not."""
    settings = {"search_path": address.schema}
    connection = await asyncpg.connect(address.url, server_settings=settings)
    yield connection
    await connection.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives up waiting, however slow this machine is."""
    be_patient(monkeypatch)


LockWaiters = Callable[[int], Awaitable[list[int]]]


@pytest.fixture
def lock_waiters(owner: asyncpg.Connection) -> LockWaiters:
    """Returns the backends that wait for locks, once there are as many as one asks for."""

    async def look(number: int) -> list[int]:
        while True:
            found = await owner.fetch(
                "SELECT pid FROM pg_locks WHERE NOT granted AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            if len(found) >= number:
                return [row["pid"] for row in found]
            await asyncio.sleep(0.005)

    return look


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return Settings.load(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOLDFAST_SECRET": "a secret that only the tests know",
        }
    )


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def redis_wire(redis: Redis, valkey_server: Running) -> RedisWire:
    return RedisWire.of(redis, valkey_server)


@pytest.fixture
async def own_redis_wire(settings: Settings, tmp_path: Path) -> AsyncIterator[RedisWire]:
    with running(valkey(tmp_path / "valkey", free_port())) as server:
        own = settings.model_copy(update={"redis_url": server.server.url})
        async with connect(own) as redis:
            yield RedisWire.of(redis, server)


@pytest.fixture
async def kafka_wire(kafka_server: Running) -> AsyncIterator[KafkaWire]:
    url = kafka_server.server.url
    admin = AIOKafkaAdminClient(bootstrap_servers=url.removeprefix("kafka://"))
    try:
        await admin.start()
        async with kafka.connect(url) as broker:
            yield KafkaWire.of(broker, kafka_server, admin)
    finally:
        await admin.close()


@pytest.fixture(params=["redis_wire", "kafka_wire"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each broker in turn."""
    found: Wire = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["own_redis_wire", "kafka_wire"])
def mortal(request: pytest.FixtureRequest) -> Wire:
    """Each broker in turn, with a server that a test may kill if it restarts it."""
    found: Wire = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that tests may restart and kill; they leave it running."""
    data = tmp_path_factory.mktemp("own_postgres")
    with running(postgres(data, free_port(), {"fsync": "off"})) as server:
        yield server
