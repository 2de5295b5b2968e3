"""Accounts: registered by anyone, seen and changed by their owner."""

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from holdfast.apps.identity.accounts import actions
from holdfast.apps.identity.accounts.schemas import (
    ChangeMeIn,
    ChangePasswordIn,
    RegisteredOut,
    RegisterIn,
)
from holdfast.apps.identity.guard import InPerson, admit_exactly, identify
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.visitor import visitor_of
from holdfast.apps.identity.wire import Data
from holdfast.shell.language import preferred_language

router = APIRouter(prefix="/api/v1")


async def show_me(scope: Scope, receive: Receive, send: Send) -> None:
    """The hot route: its answer was made when the caller's grants were read."""
    caller = await identify(scope["app"].state.identity, scope)
    profile = caller.grants.profile
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(profile)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": profile})


hot = {("GET", "/api/v1/users/me"): show_me}


@router.post("/auth/register", status_code=201)
async def register(here: Here, request: Request, wanted: RegisterIn) -> Data[RegisteredOut]:
    await admit_exactly(here, request.scope, "register")
    await actions.register(
        here,
        email=wanted.email,
        password=wanted.password,
        name=wanted.name,
        language=preferred_language(request.headers.get("accept-language", "")),
    )
    return Data(data=RegisteredOut(email=wanted.email))


@router.patch("/users/me")
async def change_me(here: Here, caller: InPerson, wanted: ChangeMeIn) -> Response:
    await actions.change_me(here, caller.user_id, wanted)
    grants = await here.grants.get(caller.session_id)
    return Response(grants.profile, media_type="application/json")


@router.post("/users/me/password", status_code=204)
async def change_password(
    here: Here, request: Request, caller: InPerson, wanted: ChangePasswordIn
) -> Response:
    await actions.change_password(
        here,
        caller,
        visitor_of(here, request),
        current=wanted.current_password,
        new=wanted.new_password,
    )
    return Response(status_code=204)
