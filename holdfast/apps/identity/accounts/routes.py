"""Accounts: registered by anyone, seen and changed by their owner, listed by whoever may."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from starlette.types import Receive, Scope, Send

from holdfast.apps.identity.accounts import actions, queries
from holdfast.apps.identity.accounts.schemas import (
    ChangeMeIn,
    ChangePasswordIn,
    RegisteredOut,
    RegisterIn,
    UserOut,
)
from holdfast.apps.identity.guard import Caller, SignedIn, admit_exactly, identify, permits
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.wire import Data, Page, PageQuery, Text, next_cursor
from holdfast.core.errors import NotFoundError

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
    await actions.register(here, email=wanted.email, password=wanted.password, name=wanted.name)
    return Data(data=RegisteredOut(email=wanted.email))


@router.patch("/users/me")
async def change_me(here: Here, caller: SignedIn, wanted: ChangeMeIn) -> Response:
    await actions.change_me(here, caller.user_id, name=wanted.name)
    grants = await here.grants.get(caller.session_id)
    return Response(grants.profile, media_type="application/json")


@router.post("/users/me/password", status_code=204)
async def change_password(here: Here, caller: SignedIn, wanted: ChangePasswordIn) -> Response:
    await actions.change_password(
        here, caller.user_id, current=wanted.current_password, new=wanted.new_password
    )
    return Response(status_code=204)


class UsersQuery(PageQuery):
    search: Annotated[Text, Field(max_length=100)] = ""


@router.get("/admin/users")
async def list_users(
    here: Here,
    page: Annotated[UsersQuery, Query()],
    caller: Annotated[Caller, Depends(permits("users:read"))],
) -> Page[UserOut]:
    rows = await queries.select_users(
        here.db, before=page.after(UUID), search=page.search.lower(), most=page.limit
    )
    return Page(
        data=[UserOut(**row._asdict()) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )


@router.get("/admin/users/{user_id}")
async def show_user(
    here: Here,
    user_id: UUID,
    caller: Annotated[Caller, Depends(permits("users:read"))],
) -> Data[UserOut]:
    row = await queries.select_user(here.db, user_id)
    if row is None:
        raise NotFoundError("There is no account with this id.")
    return Data(data=UserOut(**row._asdict()))
