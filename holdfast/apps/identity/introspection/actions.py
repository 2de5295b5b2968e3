"""Whether a token is good at this moment, and the end of one that its client gives back.

What is told rests on the same memory as the guard's decisions, and is as true: a token whose
session has ended, whose user is banned, or whose key was withdrawn is inactive at the next question.
"""

from holdfast.apps.identity.access.rules import PERSONAL
from holdfast.apps.identity.access.schemas import Grants
from holdfast.apps.identity.clients.schemas import Client
from holdfast.apps.identity.guard import verify, verify_carried
from holdfast.apps.identity.introspection import queries
from holdfast.apps.identity.introspection.schemas import TokenOut
from holdfast.apps.identity.oauth import InvalidGrantError, OAuthError
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.sessions import rules as sessions
from holdfast.apps.identity.sessions.actions import end_sessions
from holdfast.core.errors import UnauthenticatedError
from holdfast.core.tokens import Claims

INACTIVE = TokenOut(active=False)


async def introspect(here: Identity, client: Client, token: str) -> TokenOut:
    try:
        if token.startswith(PERSONAL):
            return await _about_personal(here, token)
        if token.startswith(sessions.PREFIX):
            return await _about_refresh(here, client, token)
        return _about_access(here, *await _verify_any(here, token))
    except UnauthenticatedError:
        return INACTIVE


async def revoke(here: Identity, client: Client, token: str) -> None:
    """End the session of a client's own token; nothing to do for one that is none any more."""
    if token.startswith(PERSONAL):
        raise OAuthError("unsupported_token_type", "Personal tokens are revoked by their owner.")
    if token.startswith(sessions.PREFIX):
        found = await _find_refresh_token(here, token)
        session_id, owner = (found.session_id, found.client_id) if found else (None, None)
    else:
        try:
            claims, _ = await _verify_any(here, token)
        except UnauthenticatedError:
            return
        session_id, owner = claims.sid, claims.client_id
    if session_id is None:
        return
    if owner != client.id:
        raise InvalidGrantError
    await end_sessions(here, [session_id], noted_as="session.revoked_by_client")


async def _verify_any(here: Identity, token: str) -> tuple[Claims, Grants]:
    """An access token for the API or for userinfo."""
    presented = token.encode("latin-1", "replace")
    if here.client_tokens.remembered(presented):
        return await verify(here, here.client_tokens, presented)
    try:
        return await verify(here, here.tokens, presented)
    except UnauthenticatedError:
        return await verify(here, here.client_tokens, presented)


def _about_access(here: Identity, claims: Claims, grants: Grants) -> TokenOut:
    """For the API, the scope is what the session may do at this moment."""
    for_api = claims.aud == here.options.audience
    return TokenOut(
        active=True,
        iss=claims.iss,
        aud=claims.aud,
        sub=claims.sub,
        sid=claims.sid,
        jti=claims.jti,
        client_id=claims.client_id,
        scope=_permitted(grants) if for_api else claims.scope,
        token_type="Bearer",  # noqa: S106 - a scheme
        iat=claims.iat,
        exp=claims.exp,
    )


async def _about_personal(here: Identity, token: str) -> TokenOut:
    _, grants = await verify_carried(here, PERSONAL, token)
    if not grants.open or grants.user_id is None:
        return INACTIVE
    return TokenOut(
        active=True,
        iss=here.settings.origin,
        aud=here.options.audience,
        sub=grants.user_id,
        scope=_permitted(grants),
        token_type="Bearer",  # noqa: S106 - a scheme
    )


async def _about_refresh(here: Identity, client: Client, text: str) -> TokenOut:
    """Told to its own client; those of our own pages and apps to the clients that are ours."""
    token = await _find_refresh_token(here, text)
    if token is None or not token.live:
        return INACTIVE
    if token.client_id != client.id and (token.client_id is not None or not client.trusted):
        return INACTIVE
    await here.lease.confirm()
    grants = await here.grants.get(token.session_id)
    if not grants.open or grants.user_id is None:
        return INACTIVE
    return TokenOut(
        active=True,
        iss=here.settings.origin,
        sub=grants.user_id,
        sid=token.session_id,
        client_id=token.client_id or here.options.client_id,
        scope=" ".join(token.scopes or ()),
        exp=int(token.expires_at.timestamp()),
    )


async def _find_refresh_token(here: Identity, text: str) -> queries.RefreshToken | None:
    token = sessions.read(text, here.secrets)
    if token is None:
        return None
    return await queries.select_refresh_token(here.db, hash=token.hash, expires_at=token.expires_at)


def _permitted(grants: Grants) -> str:
    return " ".join(sorted(grants.permissions))
