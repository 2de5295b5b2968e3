"""E-mail addresses: verified, and changed."""

from fastapi import APIRouter, Request, Response

from holdfast.apps.identity.addresses import actions
from holdfast.apps.identity.addresses.schemas import ChangeEmailIn, TicketIn
from holdfast.apps.identity.guard import FreshlySignedIn, InPerson, admit_exactly
from holdfast.apps.identity.resources import Here

router = APIRouter(prefix="/api/v1")


@router.post("/auth/verify-email", status_code=204)
async def verify_email(here: Here, wanted: TicketIn) -> Response:
    await actions.verify_email(here, wanted.ticket)
    return Response(status_code=204)


@router.post("/auth/confirm-email", status_code=204)
async def confirm_email(here: Here, wanted: TicketIn) -> Response:
    await actions.confirm_email(here, wanted.ticket)
    return Response(status_code=204)


@router.post("/users/me/verification", status_code=202)
async def resend_verification(here: Here, request: Request, caller: InPerson) -> Response:
    await admit_exactly(here, request.scope, "links", caller.user_id)
    await actions.resend_verification(here, caller)
    return Response(status_code=202)


@router.post("/users/me/email", status_code=202)
async def change_email(
    here: Here, request: Request, caller: FreshlySignedIn, wanted: ChangeEmailIn
) -> Response:
    await admit_exactly(here, request.scope, "links", caller.user_id)
    await actions.change_email(here, caller, wanted.email)
    return Response(status_code=202)
