"""What an admin took away is gone: on every worker, paused or cut off, and at no cost when warm."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from holdfast.apps.identity.tests.api import Account, Api, worker
from holdfast.apps.identity.tests.conftest import make_admin
from holdfast.cli.servers import Running, free_port, running, valkey

WORKERS = 3
CHANGES = 20
ASKED_AFTER_EACH = 500
USERS = "/api/v1/admin/users"


@dataclass
class Workers:
    apis: list[Api]
    processes: list[asyncio.subprocess.Process]

    @property
    def first(self) -> Api:
        return self.apis[0]


@pytest.fixture
async def workers(environ: dict[str, str]) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as stack:
        starting = (stack.enter_async_context(worker(environ)) for _ in range(WORKERS))
        started = await asyncio.gather(*starting)
        apis = [await stack.enter_async_context(Api.at(url)) for url, _ in started]
        yield Workers(apis, [process for _, process in started])


@dataclass
class Subject:
    """Somebody with a role that is given and taken."""

    account: Account
    path: str


async def subject(api: Api, admin: Account) -> Subject:
    account = await api.sign_up()
    user_id = (await api.me(account)).data["id"]
    body = {"name": "support", "description": "", "permissions": ["users:read"]}
    await api.call("POST", "/api/v1/admin/roles", body, token=admin.access)
    return Subject(account, f"{USERS}/{user_id}/roles/support")


async def ask(api: Api, who: Subject) -> int:
    return (await api.call("GET", f"{USERS}?limit=1", token=who.account.access)).status


async def give(api: Api, admin: Account, who: Subject) -> None:
    assert (await api.call("PUT", who.path, token=admin.access)).status == 204


async def take(api: Api, admin: Account, who: Subject) -> None:
    assert (await api.call("DELETE", who.path, token=admin.access)).status == 204


async def test_a_role_taken_on_one_worker_is_refused_by_all_ten_thousand_times_under_load(
    workers: Workers, db: asyncpg.Connection
) -> None:
    admin = await make_admin(workers.first, db)
    who = await subject(workers.first, admin)
    allowed_before = 0
    done = asyncio.Event()

    async def load(api: Api) -> None:
        """Keeps every worker's answer warm, right up to the change and beyond it."""
        nonlocal allowed_before
        while not done.is_set():
            allowed_before += await ask(api, who) == 200

    loading = [asyncio.create_task(load(api)) for api in workers.apis for _ in range(4)]
    answers: list[int] = []
    for i in range(CHANGES):
        changer = workers.apis[i % WORKERS]
        await give(changer, admin, who)
        assert [await ask(api, who) for api in workers.apis] == [200] * WORKERS
        while allowed_before < (i + 1) * len(loading):
            await asyncio.sleep(0.001)
        await take(changer, admin, who)
        asked = (ask(workers.apis[n % WORKERS], who) for n in range(ASKED_AFTER_EACH))
        answers += await asyncio.gather(*asked)
    done.set()
    await asyncio.gather(*loading)
    assert len(answers) == 10_000
    assert set(answers) == {403}


async def test_a_paused_worker_refuses_when_it_wakes(
    workers: Workers, db: asyncpg.Connection
) -> None:
    admin = await make_admin(workers.first, db)
    who = await subject(workers.first, admin)
    sleeper, process = workers.apis[-1], workers.processes[-1]
    for _ in range(3):
        await give(workers.first, admin, who)
        assert await ask(sleeper, who) == 200
        process.send_signal(signal.SIGSTOP)
        await take(workers.first, admin, who)
        asked = [asyncio.create_task(ask(sleeper, who)) for _ in range(20)]
        assert await ask(workers.apis[1], who) == 403
        process.send_signal(signal.SIGCONT)
        assert set(await asyncio.gather(*asked)) == {403}


async def test_a_killed_worker_delays_one_change_only(
    workers: Workers, db: asyncpg.Connection
) -> None:
    admin = await make_admin(workers.first, db)
    who = await subject(workers.first, admin)
    await give(workers.first, admin, who)
    workers.processes[-1].kill()
    await workers.processes[-1].wait()
    await take(workers.first, admin, who)
    assert await ask(workers.apis[1], who) == 403
    # One that was slow may be forgotten too, until its next beat.
    while await db.fetchval("SELECT count(*) FROM epoch_workers") != WORKERS - 1:
        await asyncio.sleep(0.05)


async def test_logout_and_password_change_hold_on_every_worker(
    workers: Workers, db: asyncpg.Connection
) -> None:
    for end in ("/api/v1/auth/logout", "/api/v1/auth/logout-all"):
        account = await workers.first.sign_up()
        for api in workers.apis:
            assert (await api.me(account)).status == 200
        await workers.first.call("POST", end, token=account.access)
        for api in workers.apis:
            assert (await api.me(account)).status == 401
            assert (await api.refresh(account.refresh)).status == 401


@pytest.fixture
async def own_redis(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
    """A Redis that a test may kill."""
    with running(valkey(tmp_path, free_port())) as server:
        environ["REDIS_URL"] = server.server.url
        yield server


async def test_without_redis_tokens_verify_limits_count_and_revocation_holds(
    environ: dict[str, str], own_redis: Running, db: asyncpg.Connection
) -> None:
    environ["HOLDFAST_LIMITS"] = "on"
    async with (
        worker(environ) as (url, _),
        worker(environ) as (other_url, _),
        Api.at(url) as api,
        Api.at(other_url) as other,
    ):
        admin = await make_admin(api, db)
        who = await subject(api, admin)
        await give(api, admin, who)
        assert await ask(other, who) == 200
        own_redis.kill()
        assert await ask(other, who) == 200
        for _ in range(3):
            await take(api, admin, who)
            assert (await ask(api, who), await ask(other, who)) == (403, 403)
            await give(api, admin, who)
            assert (await ask(api, who), await ask(other, who)) == (200, 200)
        statuses = [(await api.login("nobody@example.com", "wrong")).status for _ in range(15)]
        assert 429 in statuses
        ready = await api.call("GET", "/health/ready")
        assert ready.status == 200
        assert ready.body["checks"]["identity.redis"].startswith("degraded")


async def test_a_warm_allowed_request_asks_neither_database_nor_redis(
    workers: Workers, db: asyncpg.Connection, redis_url: str
) -> None:
    account = await workers.first.sign_up()
    await workers.first.me(account)
    await db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public")
    statements = """SELECT coalesce(sum(calls), 0)::bigint FROM public.pg_stat_statements s
        JOIN pg_database d ON d.oid = s.dbid
        WHERE d.datname = current_database() AND query NOT LIKE '%epoch_%'"""
    async with Redis.from_url(redis_url) as redis:

        async def commands() -> int:
            stats = await redis.info("commandstats")
            return sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info")

        before = (await db.fetchval(statements), await commands())
        own = (await db.fetchval(statements), await commands())
        for _ in range(20):
            answers = await asyncio.gather(*(workers.first.me(account) for _ in range(100)))
            assert {answer.status for answer in answers} == {200}
        after = (await db.fetchval(statements), await commands())
    # Counting is itself a statement: it differs as much without any request in between. And who was
    # seen is noted now and then, by a few statements, however many were.
    counting = own[0] - before[0]
    assert after[0] - own[0] - counting < 20
    assert after[1] == own[1]
