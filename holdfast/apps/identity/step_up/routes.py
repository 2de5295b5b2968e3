"""Proving once more who is calling."""

from fastapi import APIRouter, Request

from holdfast.apps.identity.guard import SignedIn
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.step_up import actions
from holdfast.apps.identity.step_up.schemas import AccessOut, StepUpIn
from holdfast.apps.identity.visitor import visitor_of
from holdfast.apps.identity.wire import Data

router = APIRouter(prefix="/api/v1")


@router.post("/auth/step-up")
async def step_up(
    here: Here, request: Request, caller: SignedIn, wanted: StepUpIn
) -> Data[AccessOut]:
    visitor = visitor_of(here, request)
    return Data(
        data=await actions.step_up(
            here, caller, visitor, password=wanted.password, code=wanted.code
        )
    )
