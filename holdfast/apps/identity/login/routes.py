"""Signing in."""

from ipaddress import ip_address
from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response

from holdfast.apps.identity.guard import address_of, admit_exactly
from holdfast.apps.identity.login import actions
from holdfast.apps.identity.login.schemas import LoginIn
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.sessions.schemas import TokensOut
from holdfast.apps.identity.wire import Data

DEVICE_COOKIE = "holdfast_device"
ONE_YEAR_S = 365 * 86_400
LONGEST_DEVICE = 200

router = APIRouter(prefix="/api/v1")


@router.post("/auth/login")
async def login(
    here: Here,
    request: Request,
    response: Response,
    wanted: LoginIn,
    holdfast_device: Annotated[str | None, Cookie()] = None,
) -> Data[TokensOut]:
    await admit_exactly(here, request.scope, "login")
    visitor = actions.Visitor(
        ip=ip_address(address_of(here, request.scope)),
        device=request.headers.get("user-agent", "").replace("\0", "")[:LONGEST_DEVICE],
        mark=holdfast_device,
    )
    tokens, mark = await actions.login(here, wanted.email, wanted.password, visitor)
    response.set_cookie(
        DEVICE_COOKIE,
        mark,
        max_age=ONE_YEAR_S,
        path="/api/v1/auth",
        secure=here.settings.origin.startswith("https://"),
        httponly=True,
        samesite="lax",
    )
    return Data(data=tokens)
