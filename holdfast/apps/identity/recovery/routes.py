"""A lost password is replaced."""

from fastapi import APIRouter, Request, Response

from holdfast.apps.identity.guard import admit_exactly
from holdfast.apps.identity.recovery import actions
from holdfast.apps.identity.recovery.schemas import RequestResetIn, ResetPasswordIn
from holdfast.apps.identity.resources import Here
from holdfast.shell.language import preferred_language

router = APIRouter(prefix="/api/v1/auth")


@router.post("/reset", status_code=202)
async def request_reset(here: Here, request: Request, wanted: RequestResetIn) -> Response:
    await admit_exactly(here, request.scope, "reset")
    language = preferred_language(request.headers.get("accept-language", ""))
    await actions.request_reset(here, email=wanted.email, language=language)
    return Response(status_code=202)


@router.post("/reset/confirm", status_code=204)
async def reset_password(here: Here, request: Request, wanted: ResetPasswordIn) -> Response:
    await admit_exactly(here, request.scope, "login")
    await actions.reset_password(here, ticket=wanted.ticket, new_password=wanted.new_password)
    return Response(status_code=204)
