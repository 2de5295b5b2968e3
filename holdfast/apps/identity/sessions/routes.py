"""Tokens are refreshed, sessions are listed and ended."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from holdfast.apps.identity.browser import Person
from holdfast.apps.identity.guard import Caller, InPerson, SignedIn, admit_exactly, permits
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.sessions import actions, queries, rules
from holdfast.apps.identity.sessions.schemas import (
    EndedOut,
    PageTokenOut,
    RefreshIn,
    RevokeSessionsIn,
    SessionOut,
    TokensOut,
)
from holdfast.apps.identity.wire import Data, Page, PageOf, next_cursor
from holdfast.core.errors import ForbiddenError, UnauthenticatedError

router = APIRouter(prefix="/api/v1")
internal = APIRouter(prefix="/internal/v1")


@router.post("/auth/refresh")
async def refresh(here: Here, request: Request, wanted: RefreshIn) -> Data[TokensOut]:
    token = rules.read(wanted.refresh_token, here.secrets)
    await admit_exactly(here, request.scope, "refresh", token.user_id if token else None)
    if token is None:
        raise UnauthenticatedError("This is not a refresh token of this service. Sign in again.")
    return Data(data=await actions.refresh(here, token))


@internal.post("/page-token")
async def issue_page_token(here: Here, request: Request, person: Person) -> Data[PageTokenOut]:
    """For the front door alone. It does not let this path in; and what a page's script asks for
    itself is known by a header that no script can leave out.
    """
    if "sec-fetch-site" in request.headers:
        raise ForbiddenError("This is for the front door. Pages need no token: they have a cookie.")
    token = await actions.page_token_of(here, person.session_id)
    return Data(data=PageTokenOut(access_token=token, expires_in=here.options.access_ttl_s))


@router.post("/auth/logout", status_code=204)
async def logout(here: Here, caller: InPerson) -> Response:
    await actions.end_sessions(here, [caller.session_id])
    return Response(status_code=204)


@router.post("/auth/logout-all")
async def logout_all(here: Here, caller: InPerson) -> Data[EndedOut]:
    return Data(data=EndedOut(ended=await actions.log_out_everywhere(here, caller.user_id)))


@router.get("/users/me/sessions")
async def list_sessions(here: Here, caller: SignedIn, page: PageOf) -> Page[SessionOut]:
    rows = await queries.select_open_sessions(
        here.db, user_id=caller.user_id, before=page.after(UUID), most=page.limit
    )
    return Page(
        data=[SessionOut(**row._asdict(), current=row.id == caller.session_id) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )


@router.delete("/users/me/sessions/{session_id}", status_code=204)
async def end_session(here: Here, caller: InPerson, session_id: UUID) -> Response:
    await actions.end_session(here, session_id, owner=caller.user_id)
    return Response(status_code=204)


@router.post("/admin/sessions/revoke")
async def revoke_sessions(
    here: Here,
    wanted: RevokeSessionsIn,
    caller: Annotated[Caller, Depends(permits("sessions:write"))],
) -> Data[EndedOut]:
    ended = await actions.end_sessions(
        here, wanted.session_ids, noted_as="session.revoked", actor=caller.user_id
    )
    return Data(data=EndedOut(ended=ended))
