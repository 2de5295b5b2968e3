"""Identity keeps its contract: every operation, with data that fits and data that does not."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import requests
import schemathesis

from holdfast.apps.identity.tests.api import Account, Api, worker
from holdfast.apps.identity.tests.conftest import SECRET, make_admin
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate

CONTRACT = schemathesis.openapi.from_path(find("identity").contract)
CONTRACT.config.generation.update(modes=None)
CONTRACT.config.generation.max_examples = 20
CONTRACT.config.generation.deterministic = True


class World:
    def __init__(self, runner, url, db, log):
        self.runner, self.url, self.db, self.log = runner, url, db, log
        self.http = requests.Session()


@pytest.fixture(scope="module")
def world(postgres_url: str, valkey_url: str, tmp_path_factory) -> Iterator[World]:
    log = tmp_path_factory.mktemp("contract") / "worker.log"
    database_url = postgres_url.removesuffix("/postgres") + "/contract"

    async def make_database():
        c = await asyncpg.connect(postgres_url)
        await c.execute("CREATE DATABASE contract")
        await c.close()
        await migrate(database_url, find("identity"))

    environ = {
        "DATABASE_URL": database_url,
        "REDIS_URL": valkey_url,
        "HOLDFAST_SECRET": SECRET,
        "HOLDFAST_LIMITS": "off",
        "HOLDFAST_DB_POOL_MIN": "1",
    }
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        runner.run(make_database())
        with log.open("wb") as f:
            url, _ = runner.run(stack.enter_async_context(worker(environ, stderr=f)))
        db = runner.run(asyncpg.connect(database_url, server_settings={"search_path": "identity"}))

        async def adm():
            async with Api.at(url) as api:
                return await make_admin(api, db)
        w = World(runner, url, db, log)
        w.admin = runner.run(adm())
        yield w
        runner.run(db.close())
        runner.run(stack.aclose())
        print(log.read_text())


@pytest.fixture
def token(world):
    async def adm():
        async with Api.at(world.url) as api:
            return await api.sign_in(world.admin.email)
    return world.runner.run(adm()).access


@CONTRACT.parametrize()
def test_admin(case, world, token):
    case.call_and_validate(base_url=world.url, session=world.http, headers={"Authorization": f"Bearer {token}"})
