"""What identity stands on while it runs: opened together, and closed in the opposite order."""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import aiohttp
from fastapi import Depends, Request
from redis.asyncio import Redis

from holdfast.apps.identity.access.cache import grants_cache
from holdfast.apps.identity.access.schemas import Grants
from holdfast.apps.identity.clients.cache import clients_cache
from holdfast.apps.identity.clients.schemas import Client
from holdfast.apps.identity.history.cache import ChainEnd
from holdfast.apps.identity.keys.actions import ensure_key
from holdfast.apps.identity.keys.cache import SUBJECT, Keyring
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.passwords import Passwords
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.social.client import Provider, providers_of
from holdfast.core.cache import Cache
from holdfast.core.db import Address, Database
from holdfast.core.epochs import Lease
from holdfast.core.limits import Limit, Limits
from holdfast.core.manifest import find
from holdfast.core.merge import Merge
from holdfast.core.partitions import keep_partitions
from holdfast.core.redis import connect
from holdfast.core.settings import Settings, SettingsError
from holdfast.core.shed import Shed
from holdfast.core.tokens import TokenVerifier

Item = TypeVar("Item")
Answer = TypeVar("Answer")

OTHERS_ANSWER_WITHIN_S = 5


@dataclass(frozen=True)
class Identity:
    settings: Settings
    options: Options
    secrets: Secrets
    db: Database
    redis: Redis
    http: aiohttp.ClientSession  # to other services
    lease: Lease
    limits: Limits
    policy: dict[str, Limit]
    hashing: Shed
    passwords: Passwords
    keys: Keyring
    tokens: TokenVerifier
    client_tokens: TokenVerifier  # for userinfo, and no part of the API
    clients: Cache[str, Client | None]
    grants: Cache[UUID, Grants]
    providers: dict[str, Provider]
    seen: dict[UUID, datetime] = field(default_factory=dict)
    chain_end: ChainEnd = field(default_factory=ChainEnd)
    _merges: dict[Callable[..., Any], Merge[Any, Any]] = field(default_factory=dict)

    def merged(
        self, action: Callable[["Identity", list[Item]], Awaitable[Sequence[Answer]]]
    ) -> Merge[Item, Answer]:
        """This worker's one way into an action that serves many callers at once."""
        merge = self._merges.get(action)
        if merge is None:
            name = action.__name__
            merge = self._merges[action] = Merge(partial(action, self), name=name)
        return merge

    async def close(self) -> None:
        """Let everyone who was admitted have their answer, and nobody else in."""
        for merge in self._merges.values():
            await merge.aclose()
        for cache in (self.grants, self.clients):
            await cache.aclose()
        self.hashing.close()

    @property
    def access_ttl(self) -> timedelta:
        return timedelta(seconds=self.options.access_ttl_s)

    @property
    def sealing_key(self) -> bytes:
        return self.secrets.key("signing keys")

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, options: Options) -> AsyncIterator["Identity"]:
        async with (
            Database.open(
                database_address(settings), least=settings.db_pool_min, most=settings.db_pool_max
            ) as db,
            connect(settings) as redis,
            _http() as http,
            Lease.hold(db, lease_s=settings.lease_s) as lease,
        ):
            await keep_partitions(db)
            here = _assemble(settings, options, db=db, redis=redis, http=http, lease=lease)
            await ensure_key(
                db,
                alg=options.token_alg,
                sealing_key=here.sealing_key,
                access_ttl=here.access_ttl,
            )
            agreeing = asyncio.create_task(here.limits.agree_for_ever(), name="limits")
            try:
                yield here
            finally:
                agreeing.cancel()
                with suppress(asyncio.CancelledError):
                    await agreeing
                await here.close()


def database_address(settings: Settings) -> Address:
    app = find("identity")
    return Address(settings.database_url, app.role, app.schema, settings.replica_url)


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=OTHERS_ANSWER_WITHIN_S),
    )


def _assemble(
    settings: Settings,
    options: Options,
    *,
    db: Database,
    redis: Redis,
    http: aiohttp.ClientSession,
    lease: Lease,
) -> Identity:
    secrets = Secrets(settings.secret)
    hashing = Shed(options.hash_threads, options.hash_deadline_s, "hashing")
    keys = Keyring(db, secrets.key("signing keys"))
    origin = settings.origin
    if options.audience == origin:
        raise SettingsError(
            "HOLDFAST_IDENTITY_AUDIENCE is HOLDFAST_ORIGIN: then clients' tokens would open the API"
        )
    tokens = TokenVerifier(issuer=origin, audience=options.audience, find_key=keys.find)
    client_tokens = TokenVerifier(issuer=origin, audience=origin, find_key=keys.find)
    for forget in (keys.forget, tokens.forget, client_tokens.forget):
        lease.watch(SUBJECT, forget)
    return Identity(
        settings=settings,
        options=options,
        secrets=secrets,
        db=db,
        redis=redis,
        http=http,
        lease=lease,
        limits=Limits(redis),
        policy=policy_of(settings),
        hashing=hashing,
        passwords=Passwords(hashing),
        keys=keys,
        tokens=tokens,
        client_tokens=client_tokens,
        clients=clients_cache(db, lease),
        grants=grants_cache(db, redis, lease),
        providers=providers_of(options, http),
    )


def policy_of(settings: Settings) -> dict[str, Limit]:
    """The profile's limits, by the name of what they limit; none for load tests."""
    if settings.limits == "off":
        return {}
    text = Path(__file__).with_name("limits.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)[settings.profile]
    return {name: Limit.parse(name, limit) for name, limit in told.items()}


async def _here(request: Request) -> Identity:  # FastAPI sends what is not async to a thread
    here: Identity = request.app.state.identity
    return here


Here = Annotated[Identity, Depends(_here)]
