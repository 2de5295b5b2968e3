"""The second factor is added, removed and seen by its owner."""

from fastapi import APIRouter, Response

from holdfast.apps.identity.guard import FreshlySignedIn, SignedIn
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.second_factor import actions, queries
from holdfast.apps.identity.second_factor.schemas import (
    CodeIn,
    FactorsOut,
    RecoveryCodesOut,
    TotpOut,
)
from holdfast.apps.identity.wire import Data

router = APIRouter(prefix="/api/v1/users/me")


@router.get("/factors")
async def show_factors(here: Here, caller: SignedIn) -> Data[FactorsOut]:
    row = await queries.select_factors(here.db, caller.user_id)
    return Data(data=FactorsOut(**row._asdict()))


@router.post("/totp")
async def start_totp(here: Here, caller: FreshlySignedIn) -> Data[TotpOut]:
    started = await actions.start_totp(here, caller)
    return Data(data=TotpOut(**started._asdict()))


@router.put("/totp")
async def confirm_totp(
    here: Here, caller: FreshlySignedIn, wanted: CodeIn
) -> Data[RecoveryCodesOut]:
    codes = await actions.confirm_totp(here, caller, wanted.code)
    return Data(data=RecoveryCodesOut(recovery_codes=list(codes)))


@router.delete("/totp", status_code=204)
async def remove_totp(here: Here, caller: FreshlySignedIn) -> Response:
    await actions.remove_totp(here, caller)
    return Response(status_code=204)


@router.post("/recovery-codes")
async def renew_recovery_codes(here: Here, caller: FreshlySignedIn) -> Data[RecoveryCodesOut]:
    codes = await actions.renew_recovery_codes(here, caller)
    return Data(data=RecoveryCodesOut(recovery_codes=list(codes)))
