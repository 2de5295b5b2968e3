"""OpenID Connect for programs: what we speak, tokens, and who somebody is."""

from collections.abc import Collection
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast.apps.identity.access.schemas import Grants
from holdfast.apps.identity.client_auth import AnyClient, OAuthRoute, Parameters, json_answer
from holdfast.apps.identity.guard import admit_exactly, let_in, verify
from holdfast.apps.identity.keys.actions import PUBLISHED_BEFORE_SIGNING
from holdfast.apps.identity.openid import actions
from holdfast.apps.identity.openid.rules import discovery
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.visitor import visitor_of
from holdfast.core.callers import bearer_token
from holdfast.core.errors import ForbiddenError, UnauthenticatedError

router = APIRouter()
tokens = APIRouter(route_class=OAuthRoute)


@router.get("/.well-known/oauth-authorization-server", include_in_schema=False)
@router.get("/.well-known/openid-configuration")
async def show_discovery(here: Here) -> Response:
    algorithms = [key["alg"] for key in await here.keys.published()]
    return Response(
        msgspec.json.encode(discovery(here.settings.origin, algorithms)),
        media_type="application/json",
        headers={
            "Cache-Control": f"public, max-age={PUBLISHED_BEFORE_SIGNING.total_seconds():.0f}"
        },
    )


@tokens.post("/oauth/token")
async def exchange_token(
    here: Here, request: Request, client: AnyClient, told: Parameters
) -> Response:
    await admit_exactly(here, request.scope, "tokens")
    return json_answer(await actions.exchange_token(here, client, told, visitor_of(here, request)))


@router.get("/oauth/userinfo")
async def show_userinfo(here: Here, request: Request) -> Response:
    token = bearer_token(request.scope)
    try:
        claims, grants = await verify(here, here.client_tokens, token)
    except UnauthenticatedError:
        raise TokenRefusedError from None
    let_in(here, request.scope, claims.sid, grants)
    scopes = claims.scope.split()
    if "openid" not in scopes:
        raise InsufficientScopeError
    return json_answer({"sub": claims.sub} | _claims(grants, scopes))


@router.post("/oauth/userinfo")
async def show_userinfo_by_post(here: Here, request: Request) -> Response:
    """OpenID Connect demands it (5.3)."""
    return await show_userinfo(here, request)


def _claims(grants: Grants, scopes: Collection[str]) -> dict[str, Any]:
    """What these scopes open; what we do not know is absent (OpenID 5.3.2)."""
    claims: dict[str, Any] = {}
    if "profile" in scopes:
        name = msgspec.json.decode(grants.profile)["data"]["name"]
        claims |= {"locale": grants.language} | ({"name": name} if name else {})
    if "email" in scopes:
        claims |= {"email": grants.email, "email_verified": grants.email_verified}
    return claims


class TokenRefusedError(UnauthenticatedError):
    sentence = "This needs an access token that a sign-in to a client gave, and that is valid now."

    def __init__(self) -> None:
        super().__init__()
        self.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'


class InsufficientScopeError(ForbiddenError):
    sentence = "This needs a token with the scope openid."

    def __init__(self) -> None:
        super().__init__(
            headers={"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="openid"'}
        )
