"""The guard: who is calling, whether they may, and whether not too often.

A caller who was here before is known from memory alone: the token by its hash, the session's
grants by its id, both only while this worker holds its lease and nothing has changed. A personal
access token and a browser's cookie carry the session's id themselves.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from starlette.types import Scope

from holdfast.apps.identity.access.rules import PERSONAL, Carrier, read_carried
from holdfast.apps.identity.access.schemas import Grants
from holdfast.apps.identity.resources import Here, Identity
from holdfast.core.callers import bearer_token
from holdfast.core.errors import ForbiddenError, UnauthenticatedError
from holdfast.core.limits import Spend, bucket_address, client_address
from holdfast.core.tokens import Claims, TokenVerifier

PERSONAL_TOKEN = PERSONAL.encode()
PROOF_COUNTS_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Caller:
    user_id: UUID
    session_id: UUID
    grants: Grants


async def identify(here: Identity, scope: Scope) -> Caller:
    """Who is calling; refuses whoever has no session that is open at this moment."""
    token = bearer_token(scope)
    if token.startswith(PERSONAL_TOKEN):
        return await identify_carried(here, scope, PERSONAL, token.decode("latin-1"))
    claims, grants = await verify(here, here.tokens, token)
    return let_in(here, scope, claims.sid, grants)


async def verify(here: Identity, tokens: TokenVerifier, token: bytes) -> tuple[Claims, Grants]:
    """What an access token says, and what its session may do; refuses if that is not open now."""
    claims = tokens.remembered(token)
    grants = here.grants.peek(claims.sid) if claims else None
    if claims is None or grants is None:
        await here.lease.confirm()
        claims = await tokens.verify(token)
        grants = await here.grants.get(claims.sid)
    if grants.user_id != claims.sub:
        raise UnauthenticatedError
    return claims, grants


async def identify_carried(here: Identity, scope: Scope, carrier: Carrier, text: str) -> Caller:
    """Who carries a session's id: in a cookie, or as a personal access token."""
    session_id, grants = await verify_carried(here, carrier, text)
    return let_in(here, scope, session_id, grants)


async def verify_carried(here: Identity, carrier: Carrier, text: str) -> tuple[UUID, Grants]:
    """The session whose id is carried, and what it may do: nothing, if it is not open now."""
    session_id = read_carried(carrier, text, here.secrets)
    if session_id is None:
        raise UnauthenticatedError
    grants = here.grants.peek(session_id)
    if grants is None:
        await here.lease.confirm()
        grants = await here.grants.get(session_id)
    return session_id, grants


def let_in(here: Identity, scope: Scope, session_id: UUID, grants: Grants) -> Caller:
    """Whoever this is, if their session is open, and not too often."""
    if not grants.open or grants.user_id is None:
        raise UnauthenticatedError
    _admit(here, scope, grants.user_id)
    if session_id not in here.seen:
        here.seen[session_id] = datetime.now(UTC)
    return Caller(grants.user_id, session_id, grants)


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


async def _signed_in(here: Here, request: Request) -> Caller:
    return await identify(here, request.scope)


SignedIn = Annotated[Caller, Depends(_signed_in)]


def proved_at(caller: Caller) -> datetime:
    """When the caller last proved to be who they are; refuses a token that proves nothing."""
    if caller.grants.authenticated_at is None:
        raise ForbiddenError("A personal or service token cannot do this. Sign in yourself.")
    return caller.grants.authenticated_at


def require_fresh(caller: Caller) -> None:
    """Refuse who has not proved lately to be who they are: a found laptop is not its owner."""
    if datetime.now(UTC) - proved_at(caller) > PROOF_COUNTS_FOR:
        raise StepUpRequiredError


async def _in_person(caller: SignedIn) -> Caller:
    proved_at(caller)
    return caller


InPerson = Annotated[Caller, Depends(_in_person)]


async def _freshly_signed_in(caller: SignedIn) -> Caller:
    require_fresh(caller)
    return caller


FreshlySignedIn = Annotated[Caller, Depends(_freshly_signed_in)]


def require_verified(caller: Caller) -> None:
    """Refuse a new way in for whoever may have registered somebody else's address."""
    if not caller.grants.email_verified:
        raise UnverifiedEmailError


class UnverifiedEmailError(ForbiddenError):
    sentence = "Verify your e-mail address first: open the link that was sent to it."


class StepUpRequiredError(UnauthenticatedError):
    """RFC 9470: signed in, but too long ago for this."""

    sentence = "Prove once more that it is you (POST /api/v1/auth/step-up), then try again."

    def __init__(self) -> None:
        super().__init__()
        most_s = PROOF_COUNTS_FOR.total_seconds()
        self.headers["WWW-Authenticate"] = (
            f'Bearer error="insufficient_user_authentication", max_age="{most_s:.0f}"'
        )


def permits(permission: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets in only callers with the permission."""

    async def permitted(caller: SignedIn) -> Caller:
        require_permission(caller, permission)
        return caller

    return permitted


def require_permission(caller: Caller, permission: str) -> None:
    if permission not in caller.grants.permissions:
        raise ForbiddenError(f"This needs the permission {permission}.")
