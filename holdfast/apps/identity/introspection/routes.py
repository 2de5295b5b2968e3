"""Clients ask about tokens, and give theirs back."""

from fastapi import APIRouter, Response

from holdfast.apps.identity.client_auth import (
    AnyClient,
    ConfidentialClient,
    OAuthRoute,
    Parameters,
    json_answer,
)
from holdfast.apps.identity.introspection import actions
from holdfast.apps.identity.oauth import OAuthError
from holdfast.apps.identity.resources import Here

router = APIRouter(prefix="/api/v1/auth", route_class=OAuthRoute)


@router.post("/introspect")
async def introspect(here: Here, client: ConfidentialClient, told: Parameters) -> Response:
    return json_answer(await actions.introspect(here, client, _token(told)))


@router.post("/revoke")
async def revoke(here: Here, client: AnyClient, told: Parameters) -> Response:
    await actions.revoke(here, client, _token(told))
    return Response(headers={"Cache-Control": "no-store"})


def _token(told: dict[str, str]) -> str:
    if "token" not in told:
        raise OAuthError("invalid_request", "Send the token.")
    return told["token"]
