"""The admin's API for accounts: found, banned, unlocked, logged out and deleted."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from holdfast.apps.identity.guard import Caller, permits
from holdfast.apps.identity.moderation import actions, queries
from holdfast.apps.identity.moderation.schemas import BanIn, UserOut, WholeUserOut
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.roles.schemas import RoleName
from holdfast.apps.identity.sessions.queries import select_open_sessions
from holdfast.apps.identity.sessions.schemas import EndedOut, SessionOut
from holdfast.apps.identity.wire import Data, Page, PageOf, PageQuery, Text, next_cursor
from holdfast.core.errors import NotFoundError

router = APIRouter(prefix="/api/v1/admin/users")

Reader = Annotated[Caller, Depends(permits("users:read"))]
Writer = Annotated[Caller, Depends(permits("users:write"))]
Ender = Annotated[Caller, Depends(permits("sessions:write"))]

DONE = 204


class UsersQuery(PageQuery):
    search: Annotated[Text, Field(max_length=100)] = ""
    banned: bool | None = None
    role: RoleName | None = None


@router.get("")
async def list_users(
    here: Here, page: Annotated[UsersQuery, Query()], caller: Reader
) -> Page[UserOut]:
    rows = await queries.select_users(
        here.db,
        before=page.after(UUID),
        search=page.search.lower(),
        banned=page.banned,
        role=page.role,
        most=page.limit,
    )
    return Page(
        data=[UserOut(**row._asdict()) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )


@router.get("/{user_id}")
async def show_user(here: Here, user_id: UUID, caller: Reader) -> Data[WholeUserOut]:
    row = await queries.select_user(here.db, user_id)
    if row is None:
        raise NotFoundError("There is no account with this id.")
    return Data(data=WholeUserOut(**row._asdict()))


@router.delete("/{user_id}", status_code=DONE)
async def delete_user(here: Here, user_id: UUID, caller: Writer) -> Response:
    await actions.delete_user(here, caller, user_id)
    return Response(status_code=DONE)


@router.put("/{user_id}/ban", status_code=DONE)
async def ban_user(here: Here, user_id: UUID, wanted: BanIn, caller: Writer) -> Response:
    await actions.ban_user(here, caller, user_id, reason=wanted.reason)
    return Response(status_code=DONE)


@router.delete("/{user_id}/ban", status_code=DONE)
async def unban_user(here: Here, user_id: UUID, caller: Writer) -> Response:
    await actions.unban_user(here, caller, user_id)
    return Response(status_code=DONE)


@router.delete("/{user_id}/lock", status_code=DONE)
async def unlock_user(here: Here, user_id: UUID, caller: Writer) -> Response:
    await actions.unlock_user(here, caller, user_id)
    return Response(status_code=DONE)


@router.post("/{user_id}/logout")
async def log_out_user(here: Here, user_id: UUID, caller: Ender) -> Data[EndedOut]:
    return Data(data=EndedOut(ended=await actions.log_out_user(here, caller, user_id)))


@router.get("/{user_id}/sessions")
async def list_user_sessions(
    here: Here, user_id: UUID, page: PageOf, caller: Ender
) -> Page[SessionOut]:
    rows = await select_open_sessions(
        here.db, user_id=user_id, before=page.after(UUID), most=page.limit
    )
    return Page(
        data=[SessionOut(**row._asdict(), current=row.id == caller.session_id) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )
