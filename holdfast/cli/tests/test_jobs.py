"""Background jobs as a process: those of all apps together, until told to stop or until one fails."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import asyncpg

from holdfast.cli.servers import free_port
from holdfast.core import manifest

SHORTLY_S = 90


@asynccontextmanager
async def jobs(database_url: str, redis_url: str, *words: str) -> AsyncIterator[Process]:
    ours = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "HOLDFAST_SECRET": "a" * 32}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.cli.main", "jobs", *words),
        env=os.environ | ours,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(SHORTLY_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def relayed(port: int, process: Process) -> set[str]:
    """The apps whose events were on their way at least once."""
    sample = "holdfast_outbox_relayed_timestamp_seconds{app="
    async with aiohttp.ClientSession() as http:
        while process.returncode is None:
            try:
                async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                    lines = (await answer.text()).splitlines()
                return {line.split('"')[1] for line in lines if line.startswith(sample)}
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    return set()


async def test_all_apps_share_one_process_that_ends_when_told(
    database_url: str, redis_url: str
) -> None:
    port = free_port()
    every_app = {app.name for app in manifest.having("jobs")}
    assert len(every_app) > 1
    async with jobs(database_url, redis_url, f"--metrics-port={port}") as process:
        while await relayed(port, process) != every_app:
            await asyncio.sleep(0.05)
        process.terminate()
        assert await process.wait() == 0


async def test_one_app_has_a_process_of_its_own(database_url: str, redis_url: str) -> None:
    port = free_port()
    async with jobs(database_url, redis_url, "identity", f"--metrics-port={port}") as process:
        while not (found := await relayed(port, process)):
            await asyncio.sleep(0.05)
        assert found == {"identity"}


async def test_one_app_that_fails_ends_the_work_of_all(database_url: str, redis_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA catalog CASCADE")
    await connection.close()
    async with jobs(database_url, redis_url) as process:
        _, said = await process.communicate()
        assert process.returncode == 1
        assert b"does not exist" in said
