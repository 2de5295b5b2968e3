"""The front door's application: its own pages, every app that has a manifest, and the door itself.

A new app appears here by itself, in this process or behind the network as the settings say; what the
table then lets in of it is written in `routes.toml`. The front door adds no logic of its own to an
app's routes.
"""

import os
from collections.abc import Mapping
from functools import partial

from starlette.types import ASGIApp

from holdfast.core import manifest, web
from holdfast.core.settings import Settings, SettingsError
from holdfast.gateway.door import OWN, Door
from holdfast.gateway.home import routes as home
from holdfast.gateway.live import routes as live
from holdfast.gateway.options import Options
from holdfast.gateway.reference import routes as reference
from holdfast.gateway.remote import Remote
from holdfast.gateway.resources import Gateway
from holdfast.gateway.shop import routes as shop
from holdfast.gateway.table import Table, read
from holdfast.shell.pages import SHELL


def front_door(settings: Settings, options: Options | None = None) -> ASGIApp:
    chosen = options or Options.load(os.environ)
    table = read(settings.profile, chosen.table)
    apps = [app for app in manifest.apps() if app.name not in chosen.upstreams]
    remotes = {name: Remote(name, url, table) for name, url in chosen.upstreams.items()}
    services = [app.module("main").service(settings) for app in apps]
    here = web.build(settings, service(settings, *remotes.values()), *services)
    upstreams = dict.fromkeys([OWN, *(app.name for app in apps)], here) | remotes
    _require_upstreams(table, upstreams, chosen)
    return Door(settings, chosen, table, upstreams)


def service(settings: Settings, *remotes: Remote) -> web.Service:
    """The pages alone, without an app."""
    return web.Service(
        name=OWN,
        lifespan=lambda: Gateway.open(settings, os.environ.get("HOLDFAST_RUN_FILE")),
        routers=[SHELL.router, home.router, reference.router, shop.router, live.router],
        checks={remote.name: partial(_check_remote, remote) for remote in remotes},
    )


async def _check_remote(remote: Remote, _: Gateway) -> None:
    """An upstream that fails is told, and nobody is turned away from the others for it."""
    if remote.state != "closed":
        raise web.DegradedError(f"{remote.name} fails, and is asked now and then if it is well")


def _require_upstreams(table: Table, upstreams: Mapping[str, ASGIApp], options: Options) -> None:
    """Everything that the table leads to is there, and what is here can take what the table lets in."""
    wanted = {route.upstream for route in table.routes}
    if OWN in options.upstreams:
        raise SettingsError(f"HOLDFAST_GATEWAY_UPSTREAMS: {OWN} is this process itself.")
    if missing := wanted - upstreams.keys():
        raise SettingsError(
            f"{options.table.name} leads to {', '.join(sorted(missing))}: no app of that name is"
            " installed. Say in HOLDFAST_GATEWAY_UPSTREAMS where it is, or take its routes out."
        )
    if unused := options.upstreams.keys() - wanted:
        raise SettingsError(
            f"HOLDFAST_GATEWAY_UPSTREAMS names {', '.join(sorted(unused))}, to which"
            f" {options.table.name} leads nobody. Add its routes, or take the name out."
        )
    for route in table.routes:
        if route.largest_body > web.LARGEST_BODY and route.upstream not in options.upstreams:
            raise SettingsError(
                f"{route.path} in {options.table.name}: an app in this process reads bodies of at"
                f" most {web.LARGEST_BODY:,} bytes."
            )
