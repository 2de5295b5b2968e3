"""Running orders for each test: a database of its own, an empty Redis, a real server, customers."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from holdfast.apps.orders.main import service
from holdfast.apps.orders.offers import client
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.patience import be_patient
from holdfast.apps.orders.tests.shop import Shop
from holdfast.core.settings import Settings
from holdfast.core.tests.issuer import Issuer, issuing
from holdfast.core.tests.patience import PATIENCE_S
from holdfast.core.tests.serving import Client, served
from holdfast.core.web import build


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture
def environ(database_url: str, redis_url: str, issuer: Issuer) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
        "HOLDFAST_ORIGIN": issuer.url,
        "HOLDFAST_LIMITS": "off",
        "HOLDFAST_DB_POOL_MIN": "1",
    }


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every worker in this process; tests of what is slow say otherwise."""
    be_patient(monkeypatch)
    monkeypatch.setattr(client, "ANSWERS_WITHIN_S", PATIENCE_S)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return Settings.load(environ)


@pytest.fixture
def options() -> Options:
    return Options()


@pytest.fixture
async def here(settings: Settings, options: Options) -> AsyncIterator[Orders]:
    """What a worker has in its hands."""
    async with Orders.open(settings, options) as opened:
        yield opened


@pytest.fixture
async def api(settings: Settings, options: Options) -> AsyncIterator[Client]:
    async with (
        served(build(settings, service(settings, options))) as url,
        Client.at(url) as client,
    ):
        yield client


@pytest.fixture
async def other(settings: Settings, options: Options) -> AsyncIterator[Client]:
    """Another worker, with a memory of its own."""
    async with (
        served(build(settings, service(settings, options))) as url,
        Client.at(url) as client,
    ):
        yield client


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner's view of the tables, to look behind the answers."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "orders"})
    yield connection
    await connection.close()


@pytest.fixture
def shop(api: Client, db: asyncpg.Connection, issuer: Issuer) -> Shop:
    return Shop(api, db, issuer)
