"""Everybody's own data: exported, and deleted with the account."""

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from holdfast.apps.identity.guard import FreshlySignedIn
from holdfast.apps.identity.privacy import actions
from holdfast.apps.identity.resources import Here

router = APIRouter(prefix="/api/v1/users/me")


@router.get("/export")
async def export_me(here: Here, caller: FreshlySignedIn) -> StreamingResponse:
    return StreamingResponse(
        await actions.export_me(here, caller.user_id),
        media_type="application/json",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="my-data.json"',
        },
    )


@router.delete("", status_code=204)
async def delete_me(here: Here, caller: FreshlySignedIn) -> Response:
    await actions.delete_me(here, caller.user_id)
    return Response(status_code=204)
