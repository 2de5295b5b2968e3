"""A worker as a process: quick on an inherited socket, patient at its end, whole after a crash."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import asyncpg
import pytest

from holdfast.apps.identity.tests.api import PASSWORD, Api, worker
from holdfast.cli.servers import Running, free_port, postgres, running
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate

DELAYED_ACK_S = 0.04
BEGUN = "SELECT (SELECT count(*) FROM login_lanes) + (SELECT count(*) FROM login_history)"


async def test_an_inherited_socket_sends_small_answers_at_once(environ: dict[str, str]) -> None:
    """With Nagle's algorithm, whatever is written after a head waits 40 ms for an ack."""
    async with worker(environ) as (url, _), Api.at(url) as api:
        account = await api.sign_up()
        took = []
        for _ in range(30):
            began = perf_counter()
            await api.me(account)
            took.append(perf_counter() - began)
    assert min(took) < DELAYED_ACK_S / 2  # who waits for an ack waits each time


async def test_sigterm_lets_requests_finish_and_ends_well(
    environ: dict[str, str], db: asyncpg.Connection
) -> None:
    environ["HOLDFAST_DRAIN_S"] = "60"
    async with worker(environ) as (url, process), Api.at(url) as api:
        emails = [(await api.sign_up()).email for _ in range(20)]
        before = await db.fetchval(BEGUN)
        signing_in = [asyncio.create_task(api.login(email)) for email in emails]
        # What was sent, but not yet read, is nobody's promise.
        while await db.fetchval(BEGUN) < before + len(emails):
            await asyncio.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*signing_in)
        assert {answer.status for answer in answers} == {200}
        assert await process.wait() == 0


@pytest.fixture
async def own_postgres(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Running]:
    """A PostgreSQL that a test may kill, with every safety on."""
    with running(postgres(tmp_path, free_port())) as server:
        environ["DATABASE_URL"] = server.server.url
        await migrate(server.server.url, find("identity"))
        yield server


async def test_nothing_acknowledged_is_lost_when_postgresql_is_killed(
    environ: dict[str, str], own_postgres: Running
) -> None:
    acknowledged: list[str] = []
    refused: set[int] = set()

    async def register_for_ever(api: Api, who: str) -> None:
        for i in range(10_000):
            body = {"email": f"{who}{i}@example.com", "password": PASSWORD}
            answer = await api.call("POST", "/api/v1/auth/register", body)
            if answer.status == 201:
                acknowledged.append(body["email"])
            else:
                refused.add(answer.status)

    async with worker(environ) as (url, _), Api.at(url) as api:
        account = await api.sign_up()
        registering = [asyncio.create_task(register_for_ever(api, who)) for who in "abcd"]
        while len(acknowledged) < 20:
            await asyncio.sleep(0.01)
        own_postgres.kill()
        await asyncio.sleep(1.5)
        # The lease has run out and cannot be renewed: better no answer than an old one.
        cut_off = await api.me(account)
        assert (cut_off.status, cut_off.headers["Retry-After"]) == (503, "1")
        # In a thread, or connections would be closed as idle while we look away.
        await asyncio.to_thread(own_postgres.restart)
        before = len(acknowledged)
        async with asyncio.timeout(60):
            while len(acknowledged) < before + 5 or (await api.me(account)).status != 200:
                await asyncio.sleep(0.05)
        for one in registering:
            one.cancel()
        assert refused <= {503}
        for email in acknowledged[:40]:
            assert (await api.login(email)).status == 200, email
