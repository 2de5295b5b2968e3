"""Both front doors, each started once for everything that is asked of them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
import pytest_asyncio

from holdfast.cli.servers import free_port
from holdfast.core.tests.issuer import Issuer, issuing
from tests.doors import (
    Here,
    echo_of_sockets,
    environment,
    envoy_door,
    holdfast_door,
    upstream_as_told,
)

APPS = ("identity", "catalog", "orders")
TROUBLED = ("slow", "flaky", "storm", "failing", "half", "less", "conflict")
KEPT_S = 1  # no connection that the door is about to close: it does so after five seconds
ONE_UPSTREAM = (*APPS, *TROUBLED, "steady")


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with issuing("RS256") as issuer:  # Envoy knows no Ed25519
        yield issuer


@pytest.fixture(scope="session", params=["holdfast", "envoy"])
def kind(request: pytest.FixtureRequest) -> str:
    which: str = request.param
    return which


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def here(
    kind: str,
    issuer: Issuer,
    postgres_url: str,
    valkey_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Here]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(upstream_as_told())
        other = await stack.enter_async_context(upstream_as_told())
        upstreams = dict.fromkeys(ONE_UPSTREAM, upstream.url) | {
            "other": other.url,
            "sockets": await stack.enter_async_context(echo_of_sockets()),
            "nowhere": f"http://127.0.0.1:{free_port()}",
        }
        servers = {"DATABASE_URL": postgres_url, "REDIS_URL": valkey_url}
        environ = environment(issuer, upstreams) | servers
        doors = {
            "holdfast": lambda: holdfast_door(environ),
            "envoy": lambda: envoy_door(environ, tmp_path_factory.mktemp("envoy")),
        }
        door = await stack.enter_async_context(doors[kind]())
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=KEPT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        )
        yield Here(door, http, upstream, other, issuer)
