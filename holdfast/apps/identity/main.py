"""Identity as a service: its routes, its resources, and what its readiness rests on."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from holdfast.apps.identity import gauges
from holdfast.apps.identity.access.jobs import note_seen_sessions
from holdfast.apps.identity.accounts import routes as accounts
from holdfast.apps.identity.addresses import routes as addresses
from holdfast.apps.identity.audit import routes as audit
from holdfast.apps.identity.authorization import routes as authorization
from holdfast.apps.identity.clients import routes as clients
from holdfast.apps.identity.console import routes as console
from holdfast.apps.identity.entrance import routes as entrance
from holdfast.apps.identity.frame import PROBLEMS
from holdfast.apps.identity.history import routes as history
from holdfast.apps.identity.introspection import routes as introspection
from holdfast.apps.identity.joining import routes as joining
from holdfast.apps.identity.keys import routes as keys
from holdfast.apps.identity.login import routes as login
from holdfast.apps.identity.mail import routes as mail
from holdfast.apps.identity.moderation import routes as moderation
from holdfast.apps.identity.my_account import routes as my_account
from holdfast.apps.identity.my_security import routes as my_security
from holdfast.apps.identity.my_sessions import routes as my_sessions
from holdfast.apps.identity.openid import routes as openid
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.passkeys import routes as passkeys
from holdfast.apps.identity.personal_tokens import routes as personal_tokens
from holdfast.apps.identity.privacy import routes as privacy
from holdfast.apps.identity.recovery import routes as recovery
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles import routes as roles
from holdfast.apps.identity.second_factor import routes as second_factor
from holdfast.apps.identity.sessions import routes as sessions
from holdfast.apps.identity.social import routes as social
from holdfast.apps.identity.step_up import routes as step_up
from holdfast.core.settings import Settings
from holdfast.core.web import DegradedError, Method, Service
from holdfast.shell.pages import SHELL


def service(settings: Settings, options: Options | None = None) -> Service:
    chosen = options or Options.of(settings)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Identity]:
        async with Identity.open(settings, chosen) as here, note_seen_sessions(here):
            gauges.show(here)
            yield here

    return Service(
        name="identity",
        lifespan=lifespan,
        routers=[
            SHELL.router,
            PROBLEMS.router,
            entrance.router,
            joining.router,
            my_account.router,
            my_security.router,
            my_sessions.router,
            console.router,
            accounts.router,
            addresses.router,
            recovery.router,
            mail.router,
            login.router,
            second_factor.router,
            step_up.router,
            passkeys.router,
            social.router,
            social.pages,
            clients.router,
            authorization.router,
            authorization.by_form,
            authorization.api,
            openid.router,
            openid.tokens,
            introspection.router,
            sessions.router,
            sessions.internal,
            history.router,
            roles.router,
            moderation.router,
            audit.router,
            personal_tokens.router,
            privacy.router,
            keys.router,
        ],
        hot=accounts.hot,
        checks={"database": _check_database, "redis": _check_redis, "epochs": _check_epochs},
        grpc=_grpc,
    )


def _grpc() -> Mapping[str, Method]:
    from holdfast.apps.identity.access import grpc  # noqa: PLC0415 - who serves none does without it

    return grpc.methods


async def _check_database(here: Identity) -> None:
    await here.db.fetchval("SELECT 1")


async def _check_redis(here: Identity) -> None:
    try:
        await here.redis.ping()
    except (RedisError, OSError) as error:
        raise DegradedError("Redis is away; limits are counted per worker") from error


async def _check_epochs(here: Identity) -> None:
    await here.lease.confirm()
