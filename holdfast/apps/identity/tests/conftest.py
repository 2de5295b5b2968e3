"""A running identity for each test: its own database, an empty Redis, a real server."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Account, Api, served
from holdfast.core.settings import Settings
from holdfast.core.tests.patience import be_patient
from holdfast.core.web import build

PATIENCE_S = 20  # other tests hash at the same time; those of a full pool have their own deadline
SECRET = "a secret that only the tests know, and long enough"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every worker in this process."""
    be_patient(monkeypatch)


@pytest.fixture
def environ(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HOLDFAST_SECRET": SECRET,
        "HOLDFAST_LIMITS": "off",
        "HOLDFAST_DB_POOL_MIN": "1",
        "HOLDFAST_IDENTITY_HASH_DEADLINE_S": str(PATIENCE_S),
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return Settings.load(environ)


@pytest.fixture
def options() -> Options:
    return Options(hash_deadline_s=PATIENCE_S)


@pytest.fixture
async def here(settings: Settings, options: Options) -> AsyncIterator[Identity]:
    """A second view of the same identity: what another worker would have in its hands."""
    async with Identity.open(settings, options) as opened:
        yield opened


@pytest.fixture
async def api(settings: Settings, options: Options) -> AsyncIterator[Api]:
    async with served(build(settings, service(settings, options))) as url, Api.at(url) as client:
        yield client


@pytest.fixture
async def other(settings: Settings, options: Options) -> AsyncIterator[Api]:
    """Another worker, with a memory of its own."""
    async with served(build(settings, service(settings, options))) as url, Api.at(url) as client:
        yield client


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner's view of the tables, to look behind the answers."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "identity"})
    yield connection
    await connection.close()


@pytest.fixture
async def admin(api: Api, db: asyncpg.Connection) -> Account:
    """An account that may do everything."""
    return await make_admin(api, db)


async def make_admin(api: Api, db: asyncpg.Connection) -> Account:
    account = await api.sign_up("admin@example.com")
    await db.execute(
        "INSERT INTO user_roles SELECT id, 'admin' FROM users WHERE email = $1", account.email
    )
    return await api.sign_in(account.email)
