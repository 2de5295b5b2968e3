"""Who tried to sign in: users read their own attempts, those who may read anyone's."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from msgspec import Meta

from holdfast.apps.identity.guard import Caller, SignedIn, permits
from holdfast.apps.identity.history import queries
from holdfast.apps.identity.history.schemas import LoginOut
from holdfast.apps.identity.resources import Here, Identity
from holdfast.apps.identity.wire import Page, PageOf, PageQuery, next_cursor

Position = tuple[Annotated[datetime, Meta(tz=True)], Annotated[int, Meta(ge=0, le=2**63 - 1)]]
BEFORE_ALL = (datetime(9999, 1, 1, tzinfo=UTC), 0)

router = APIRouter(prefix="/api/v1")


@router.get("/users/me/logins")
async def list_logins(here: Here, caller: SignedIn, page: PageOf) -> Page[LoginOut]:
    return await _page(here, caller.user_id, page)


@router.get("/admin/users/{user_id}/logins")
async def list_user_logins(
    here: Here,
    user_id: UUID,
    page: PageOf,
    caller: Annotated[Caller, Depends(permits("history:read"))],
) -> Page[LoginOut]:
    return await _page(here, user_id, page)


async def _page(here: Identity, user_id: UUID, page: PageQuery) -> Page[LoginOut]:
    period, position = page.after(Position) or BEFORE_ALL
    async with here.db.reader() as db:
        rows = await queries.select_logins(
            db,
            user_id=user_id,
            before_period=period,
            before_position=position,
            most=page.limit,
        )
    return Page(
        data=[
            LoginOut(
                id=f"{row.period:%Y%m%d}-{row.position}",
                at=row.at,
                ip=row.ip,
                device=row.device,
                outcome=row.outcome,
            )
            for row in rows
        ],
        next_cursor=next_cursor(rows, page.limit, lambda row: (row.period, row.position)),
    )
