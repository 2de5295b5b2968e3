"""The guard: who is calling, whether they may, and whether not too often.

A caller who was here before is known from memory alone: the token by its hash, the session's
grants by its id, both only while this worker holds its lease and nothing has changed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from starlette.types import Scope

from holdfast.apps.identity.access.schemas import Grants
from holdfast.apps.identity.resources import Here, Identity
from holdfast.core.errors import ForbiddenError, UnauthenticatedError
from holdfast.core.limits import Spend, bucket_address, client_address
from holdfast.core.tokens import Claims

SCHEME = b"bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    claims: Claims
    grants: Grants

    @property
    def user_id(self) -> UUID:
        return self.claims.sub

    @property
    def session_id(self) -> UUID:
        return self.claims.sid


async def identify(here: Identity, scope: Scope) -> Caller:
    """Who is calling; refuses whoever has no session that is open at this moment."""
    token = _bearer(scope)
    claims = here.tokens.remembered(token)
    grants = here.grants.peek(claims.sid) if claims else None
    if claims is None or grants is None:
        await here.lease.confirm()
        claims = await here.tokens.verify(token)
        grants = await here.grants.get(claims.sid)
    if not grants.open or grants.user_id != claims.sub:
        raise UnauthenticatedError
    _admit(here, scope, claims.sub)
    if claims.sid not in here.seen:
        here.seen[claims.sid] = datetime.now(UTC)
    return Caller(claims, grants)


def address_of(here: Identity, scope: Scope) -> str:
    """The caller's address, as far as it can be believed."""
    peer = scope["client"][0] if scope.get("client") else "127.0.0.1"
    if not here.settings.trusted_proxies:
        return str(peer)
    forwarded = [v.decode("latin-1") for k, v in scope["headers"] if k == b"x-forwarded-for"]
    return client_address(peer, forwarded, here.settings.trusted_proxies)


async def admit_exactly(
    here: Identity, scope: Scope, name: str, user_id: UUID | None = None
) -> None:
    """Count a request against a limit that holds over all workers together."""
    if limit := here.policy.get(name):
        await here.limits.admit(Spend(limit, _whose(here, scope, limit.scope, user_id)))


def _admit(here: Identity, scope: Scope, user_id: UUID) -> None:
    spends = [
        Spend(limit, _whose(here, scope, limit.scope, user_id))
        for name in ("users", "everything")
        if (limit := here.policy.get(name))
    ]
    if spends:
        here.limits.admit_here(*spends)


def _whose(here: Identity, scope: Scope, kind: str, user_id: UUID | None) -> str:
    match kind:
        case "user":
            return str(user_id)
        case "ip":
            return bucket_address(address_of(here, scope))
    return "all"


def _bearer(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"authorization":
            if value[: len(SCHEME)].lower() != SCHEME:
                break
            return bytes(value[len(SCHEME) :])
    raise UnauthenticatedError


async def _signed_in(here: Here, request: Request) -> Caller:
    return await identify(here, request.scope)


SignedIn = Annotated[Caller, Depends(_signed_in)]


def permits(permission: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets in only callers with the permission."""

    async def permitted(caller: SignedIn) -> Caller:
        if permission not in caller.grants.permissions:
            raise ForbiddenError(f"This needs the permission {permission}.")
        return caller

    return permitted
