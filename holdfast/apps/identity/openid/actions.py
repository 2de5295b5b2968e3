"""Tokens for OAuth clients: by a person's code, by a refresh token, or by the client itself."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from holdfast.apps.identity.authorization.rules import fits
from holdfast.apps.identity.authorization.schemas import CODE, Code
from holdfast.apps.identity.clients.rules import permissions_among
from holdfast.apps.identity.clients.schemas import Client
from holdfast.apps.identity.oauth import InvalidGrantError, OAuthError
from holdfast.apps.identity.openid import queries
from holdfast.apps.identity.openid.rules import is_presented_rightly
from holdfast.apps.identity.openid.schemas import TokensOut
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.queries import select_own_permissions
from holdfast.apps.identity.sessions import rules as sessions
from holdfast.apps.identity.sessions.actions import (
    Begun,
    Presented,
    access_token_of,
    begin_client_session,
    end_sessions,
    rotate,
)
from holdfast.apps.identity.tickets import rules as tickets
from holdfast.apps.identity.tickets.actions import redeem
from holdfast.apps.identity.visitor import Visitor
from holdfast.core.db import Executor
from holdfast.core.errors import UnauthenticatedError

STAYS = "offline_access"


async def exchange_token(
    here: Identity, client: Client, told: Mapping[str, str], visitor: Visitor
) -> TokensOut:
    match told.get("grant_type"):
        case "authorization_code":
            return await _exchange_code(here, client, told)
        case "refresh_token":
            return await _refresh(here, client, told)
        case "client_credentials":
            return await _act_for_itself(here, client, told, visitor)
        case None:
            raise OAuthError("invalid_request", "Say which grant_type.")
    raise OAuthError(
        "unsupported_grant_type",
        "A grant_type is authorization_code, refresh_token or client_credentials.",
    )


async def _exchange_code(here: Identity, client: Client, told: Mapping[str, str]) -> TokensOut:
    """A code is used up only by whoever may; of many at once one begins the session."""
    text, verifier = _needed(told, "code"), _needed(told, "code_verifier")
    address = _needed(told, "redirect_uri")
    try:
        async with here.db.transaction() as db:
            code = await redeem(db, here.secrets, CODE, text, Code)
            if not is_presented_rightly(code, client.id, redirect_uri=address, verifier=verifier):
                raise InvalidGrantError
            begun = await _begin(here, db, code)
    except UnauthenticatedError:
        await _end_what_it_began(here, client, text, verifier)
        raise InvalidGrantError from None
    access_token = await access_token_of(here, begun, code.user_id, client.id)
    return TokensOut(
        access_token=access_token,
        expires_in=here.options.access_ttl_s,
        scope=" ".join(code.scopes),
        refresh_token=(
            sessions.write(begun.token, here.secrets) if STAYS in code.scopes else msgspec.UNSET
        ),
        id_token=(
            await _id_token(here, code, begun, access_token)
            if "openid" in code.scopes
            else msgspec.UNSET
        ),
    )


async def _begin(here: Identity, db: Executor, code: Code) -> Begun:
    """The client's session, if everything that the code was given upon is still so."""
    client = await queries.lock_client_kept(db, code.client_id)
    if client is None or not set(code.scopes) <= set(client.scopes):
        raise InvalidGrantError
    if await queries.lock_user_kept(db, code.user_id) is None:
        raise InvalidGrantError
    sign_in = await queries.select_sign_in(
        db, session_id=code.browser_session, user_id=code.user_id, client_id=code.client_id
    )
    if sign_in is None or not (client.trusted or set(code.scopes) <= set(sign_in.agreed)):
        raise InvalidGrantError
    options = here.options
    return await begin_client_session(
        db,
        code.user_id,
        Visitor(sign_in.ip, sign_in.device, None),
        session_id=code.session_id,
        client_id=code.client_id,
        scopes=code.scopes,
        amr=sign_in.amr,
        authenticated_at=sign_in.authenticated_at,
        lifetime=timedelta(
            seconds=options.refresh_ttl_s if STAYS in code.scopes else options.access_ttl_s
        ),
    )


async def _end_what_it_began(here: Identity, client: Client, text: str, verifier: str) -> None:
    """Presented again by its own client: somebody has copied it (RFC 6749 4.1.2).

    Whoever does not know the verifier has found a code somewhere, and ends nothing by it.
    """
    ticket = tickets.read(text, CODE, here.secrets)
    facts = ticket and await queries.select_used_code(
        here.db, hash=ticket.hash, expires_at=ticket.expires_at
    )
    code = msgspec.json.decode(facts, type=Code) if facts else None
    if code and code.client_id == client.id and fits(verifier, code.challenge):
        await end_sessions(here, [code.session_id], noted_as="session.code_reused")


async def _id_token(here: Identity, code: Code, begun: Begun, access_token: str) -> str:
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": here.settings.origin,
        "sub": code.user_id,
        "aud": code.client_id,
        "sid": begun.session_id,
        "iat": now,
        "exp": now + here.options.access_ttl_s,
        "auth_time": int(begun.authenticated_at.timestamp()),
        "amr": begun.amr,
    } | ({"nonce": code.nonce} if code.nonce else {})
    return await here.keys.sign(claims, "JWT", beside=access_token)


async def _refresh(here: Identity, client: Client, told: Mapping[str, str]) -> TokensOut:
    token = sessions.read(_needed(told, "refresh_token"), here.secrets)
    if token is None:
        raise InvalidGrantError
    try:
        family = await rotate(here, Presented(token, client.id))
    except UnauthenticatedError:
        raise InvalidGrantError from None
    return TokensOut(
        access_token=await access_token_of(here, family, token.user_id, client.id),
        expires_in=here.options.access_ttl_s,
        scope=" ".join(family.scopes or ()),
        refresh_token=sessions.write(sessions.successor(token, here.secrets), here.secrets),
    )


async def _act_for_itself(
    here: Identity, client: Client, told: Mapping[str, str], visitor: Visitor
) -> TokensOut:
    """A service account's token for the API: what the client and its roles both permit."""
    async with here.db.transaction() as db:
        kept = await queries.lock_client_kept(db, client.id)
        if kept is None or kept.service_id is None:
            raise OAuthError("unauthorized_client", "This client has no service account.")
        own = await select_own_permissions(db, kept.service_id)
        permitted = set(permissions_among(kept.scopes)).intersection(own)
        scopes = sorted(set(told.get("scope", "").split()) or permitted)
        if not permitted.issuperset(scopes):
            raise OAuthError(
                "invalid_scope",
                "Its own scopes and the roles of its service account must permit it.",
            )
        try:
            begun = await begin_client_session(
                db,
                kept.service_id,
                visitor,
                client_id=client.id,
                scopes=scopes,
                amr=(),
                authenticated_at=datetime.now(UTC),
                lifetime=here.access_ttl,
            )
        except UnauthenticatedError:
            raise InvalidGrantError from None
    return TokensOut(
        access_token=await access_token_of(here, begun, kept.service_id, client.id, for_api=True),
        expires_in=here.options.access_ttl_s,
        scope=" ".join(scopes),
    )


def _needed(told: Mapping[str, str], name: str) -> str:
    if name not in told:
        raise OAuthError("invalid_request", f"{name} is missing.")
    return told[name]
