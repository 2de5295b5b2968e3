"""Passkeys: added, seen, renamed and removed by their owner; and the way in by one of them."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from holdfast.apps.identity.guard import FreshlySignedIn, InPerson, admit_exactly
from holdfast.apps.identity.passkeys import actions, queries
from holdfast.apps.identity.passkeys.schemas import (
    AddPasskeyIn,
    BegunOut,
    PasskeyAnswerIn,
    PasskeyOut,
    RenamePasskeyIn,
)
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.sessions.actions import tokens_of
from holdfast.apps.identity.sessions.schemas import TokensOut
from holdfast.apps.identity.step_up.schemas import AccessOut
from holdfast.apps.identity.visitor import keep_device, visitor_of
from holdfast.apps.identity.wire import Data, Page

router = APIRouter(prefix="/api/v1")


@router.get("/users/me/passkeys")
async def list_passkeys(here: Here, caller: InPerson) -> Page[PasskeyOut]:
    rows = await queries.select_passkeys(here.db, caller.user_id)
    return Page(data=[PasskeyOut(**row._asdict()) for row in rows], next_cursor=None)


@router.post("/users/me/passkey-options")
async def begin_passkey(here: Here, caller: FreshlySignedIn) -> Data[BegunOut]:
    begun = await actions.begin_passkey(here, caller)
    return Data(data=BegunOut(**begun._asdict()))


@router.post("/users/me/passkeys", status_code=201)
async def add_passkey(here: Here, caller: InPerson, wanted: AddPasskeyIn) -> Data[PasskeyOut]:
    passkey = await actions.add_passkey(
        here, caller, ticket=wanted.ticket, name=wanted.name, credential=wanted.credential.told()
    )
    return Data(data=PasskeyOut(**passkey._asdict()))


@router.patch("/users/me/passkeys/{passkey_id}")
async def rename_passkey(
    here: Here, caller: InPerson, passkey_id: UUID, wanted: RenamePasskeyIn
) -> Data[PasskeyOut]:
    passkey = await actions.rename_passkey(here, caller.user_id, passkey_id, name=wanted.name)
    return Data(data=PasskeyOut(**passkey._asdict()))


@router.delete("/users/me/passkeys/{passkey_id}", status_code=204)
async def remove_passkey(here: Here, caller: FreshlySignedIn, passkey_id: UUID) -> Response:
    await actions.remove_passkey(here, caller.user_id, passkey_id)
    return Response(status_code=204)


@router.post("/auth/passkeys/options")
async def begin_passkey_login(here: Here, request: Request) -> Data[BegunOut]:
    await admit_exactly(here, request.scope, "challenges")
    begun = await actions.begin_passkey_login(here)
    return Data(data=BegunOut(**begun._asdict()))


@router.post("/auth/passkeys")
async def login_with_passkey(
    here: Here, request: Request, response: Response, wanted: PasskeyAnswerIn
) -> Data[TokensOut]:
    await admit_exactly(here, request.scope, "login")
    entered = await actions.login_with_passkey(
        here,
        visitor_of(here, request),
        ticket=wanted.ticket,
        credential=wanted.credential.told(),
    )
    keep_device(here, response, entered.mark)
    return Data(data=await tokens_of(here, entered.session, entered.session.token))


@router.post("/auth/step-up/passkey/options")
async def begin_passkey_step_up(here: Here, caller: InPerson) -> Data[BegunOut]:
    begun = await actions.begin_passkey_step_up(here, caller)
    return Data(data=BegunOut(**begun._asdict()))


@router.post("/auth/step-up/passkey")
async def step_up_with_passkey(
    here: Here, caller: InPerson, wanted: PasskeyAnswerIn
) -> Data[AccessOut]:
    renewed = await actions.step_up_with_passkey(
        here, caller, ticket=wanted.ticket, credential=wanted.credential.told()
    )
    return Data(data=renewed)
