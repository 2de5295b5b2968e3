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

from fastapi import Depends, Request
from redis.asyncio import Redis

from holdfast.apps.identity.access.cache import grants_cache
from holdfast.apps.identity.access.schemas import Grants
from holdfast.apps.identity.keys.actions import ensure_key
from holdfast.apps.identity.keys.cache import SUBJECT, Keyring
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.passwords import Passwords
from holdfast.apps.identity.secrets import Secrets
from holdfast.core.cache import Cache
from holdfast.core.db import Address, Database
from holdfast.core.epochs import Lease
from holdfast.core.limits import Limit, Limits
from holdfast.core.manifest import find
from holdfast.core.merge import Merge
from holdfast.core.partitions import keep_partitions
from holdfast.core.redis import connect
from holdfast.core.settings import Settings
from holdfast.core.shed import Shed
from holdfast.core.tokens import TokenVerifier

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Identity:
    settings: Settings
    options: Options
    secrets: Secrets
    db: Database
    redis: Redis
    lease: Lease
    limits: Limits
    policy: dict[str, Limit]
    hashing: Shed
    passwords: Passwords
    keys: Keyring
    tokens: TokenVerifier
    grants: Cache[UUID, Grants]
    seen: dict[UUID, datetime] = field(default_factory=dict)
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
            Lease.hold(db, lease_s=settings.lease_s) as lease,
        ):
            await keep_partitions(db)
            here = _assemble(settings, options, db, redis, lease)
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


def _assemble(
    settings: Settings, options: Options, db: Database, redis: Redis, lease: Lease
) -> Identity:
    secrets = Secrets(settings.secret)
    hashing = Shed(options.hash_threads, options.hash_deadline_s, "hashing")
    keys = Keyring(db, secrets.key("signing keys"))
    tokens = TokenVerifier(issuer=settings.origin, audience=options.audience, find_key=keys.find)
    lease.watch(SUBJECT, keys.forget)
    lease.watch(SUBJECT, tokens.forget)
    return Identity(
        settings=settings,
        options=options,
        secrets=secrets,
        db=db,
        redis=redis,
        lease=lease,
        limits=Limits(redis),
        policy=_policy(settings),
        hashing=hashing,
        passwords=Passwords(hashing),
        keys=keys,
        tokens=tokens,
        grants=grants_cache(db, redis, lease),
    )


def _policy(settings: Settings) -> dict[str, Limit]:
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
