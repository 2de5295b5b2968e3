"""What the front door's own pages stand on while they run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from fastapi import Request

from holdfast.core.callers import Callers
from holdfast.core.identity import identity_of
from holdfast.core.settings import Settings
from holdfast.gateway.home.client import Supervisor
from holdfast.gateway.live.cache import Watch


@dataclass(frozen=True)
class Gateway:
    supervisor: Supervisor
    watch: Watch
    callers: Callers

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, run_file: str | None) -> AsyncIterator["Gateway"]:
        supervisor = Supervisor(run_file, settings)
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            identity_of(settings, http) as identity,
        ):
            yield cls(supervisor, Watch(supervisor), Callers(settings, identity))


def here(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway
