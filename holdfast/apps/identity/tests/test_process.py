"""A worker as a process: quick on an inherited socket, patient at its end, whole after a crash."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

from holdfast.apps.identity.tests.api import PASSWORD, Api, worker
from holdfast.cli.servers import Running, free_port, postgres, running
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate

DELAYED_ACK_S = 0.04


async def test_an_inherited_socket_sends_small_answers_at_once(environ: dict[str, str]) -> None:
    """Head and body are two writes: with Nagle's algorithm the second waits 40 ms for an ack."""
    async with worker(environ) as (url, _), Api.at(url) as api:
        account = await api.sign_up()
        took = []
        for _ in range(30):
            began = perf_counter()
            await api.me(account)
            took.append(perf_counter() - began)
    assert median(took) < DELAYED_ACK_S / 2


async def test_sigterm_lets_requests_finish_and_ends_well(environ: dict[str, str]) -> None:
    async with worker(environ) as (url, process), Api.at(url) as api:
        emails = [(await api.sign_up()).email for _ in range(20)]
        signing_in = [asyncio.create_task(api.login(email)) for email in emails]
        # By then all have arrived: what was sent, but not yet read, is nobody's promise.
        await asyncio.wait(signing_in, return_when=asyncio.FIRST_COMPLETED)
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
        own_postgres.restart()
        before = len(acknowledged)
        async with asyncio.timeout(20):
            while len(acknowledged) < before + 5 or (await api.me(account)).status != 200:
                await asyncio.sleep(0.05)
        for one in registering:
            one.cancel()
        assert refused <= {503}
        for email in acknowledged[:40]:
            assert (await api.login(email)).status == 200, email
