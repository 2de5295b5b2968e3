"""Signing in."""

from fastapi import APIRouter, Request, Response

from holdfast.apps.identity.guard import admit_exactly
from holdfast.apps.identity.login import actions
from holdfast.apps.identity.login.schemas import LoginIn, SecondStepIn
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.sessions.actions import tokens_of
from holdfast.apps.identity.sessions.schemas import TokensOut
from holdfast.apps.identity.visitor import keep_device, visitor_of
from holdfast.apps.identity.wire import Data

router = APIRouter(prefix="/api/v1")


@router.post("/auth/login")
async def login(
    here: Here, request: Request, response: Response, wanted: LoginIn
) -> Data[TokensOut]:
    await admit_exactly(here, request.scope, "login")
    visitor = visitor_of(here, request)
    entered = await actions.login(here, wanted.email, wanted.password, visitor)
    keep_device(here, response, entered.mark)
    return Data(data=await tokens_of(here, entered.session, entered.session.token))


@router.post("/auth/login/second-factor")
async def complete_login(
    here: Here, request: Request, response: Response, wanted: SecondStepIn
) -> Data[TokensOut]:
    await admit_exactly(here, request.scope, "login")
    visitor = visitor_of(here, request)
    entered = await actions.complete_login(here, wanted.ticket, wanted.code, visitor)
    keep_device(here, response, entered.mark)
    return Data(data=await tokens_of(here, entered.session, entered.session.token))
