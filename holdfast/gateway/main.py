"""The front door's application: its own pages, and every app that has a manifest.

A new app appears here by itself. The front door adds no logic of its own to an app's routes.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from holdfast.core import manifest, web
from holdfast.core.settings import Settings
from holdfast.gateway.home import routes as home
from holdfast.gateway.home.client import Supervisor
from holdfast.gateway.reference import routes as reference
from holdfast.shell.pages import SHELL


def front_door(settings: Settings) -> ASGIApp:
    apps = [app.module("main").service(settings) for app in manifest.apps()]
    return web.build(settings, service(settings), *apps)


def service(settings: Settings) -> web.Service:
    """The pages alone, without an app."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Supervisor]:
        yield Supervisor(os.environ.get("HOLDFAST_RUN_FILE"), settings)

    routers = [SHELL.router, home.router, reference.router]
    return web.Service(name="gateway", lifespan=lifespan, routers=routers)
