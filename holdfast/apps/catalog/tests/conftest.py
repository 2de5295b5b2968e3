"""A running catalog for each test: a database of its own, an empty Redis, a real server, an editor."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from holdfast.apps.catalog.guard import WRITE
from holdfast.apps.catalog.main import service
from holdfast.apps.catalog.options import Options
from holdfast.apps.catalog.resources import Catalog
from holdfast.apps.catalog.tests.desk import Desk
from holdfast.core import cache, identity
from holdfast.core.settings import Settings
from holdfast.core.tests.issuer import Issuer, issuing
from holdfast.core.tests.patience import PATIENCE_S, be_patient
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
    """Nobody is taken for away, or busy, who is only slow with this machine."""
    be_patient(monkeypatch)
    monkeypatch.setattr(identity, "ANSWERS_WITHIN_S", PATIENCE_S)
    monkeypatch.setattr(cache, "REDIS_PATIENCE_S", PATIENCE_S)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return Settings.load(environ)


@pytest.fixture
def options() -> Options:
    return Options()


@pytest.fixture
async def here(settings: Settings, options: Options) -> AsyncIterator[Catalog]:
    """What a worker has in its hands."""
    async with Catalog.open(settings, options) as opened:
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
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "catalog"})
    yield connection
    await connection.close()


@pytest.fixture
def editor(issuer: Issuer) -> str:
    """The token of somebody who may change the catalog."""
    return issuer.token(None, WRITE)


@pytest.fixture
def desk(api: Client, editor: str, db: asyncpg.Connection) -> Desk:
    return Desk(api, editor, db)
