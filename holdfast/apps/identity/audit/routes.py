"""The audit log is read: all of it by whoever may, and by everyone what was done to their account."""

from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import Field

from holdfast.apps.identity.audit import queries
from holdfast.apps.identity.audit.rules import activity_of
from holdfast.apps.identity.audit.schemas import ActivityOut, AuditOut
from holdfast.apps.identity.guard import Caller, SignedIn, permits
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.wire import Page, PageOf, PageQuery, next_cursor

router = APIRouter(prefix="/api/v1")


class AuditQuery(PageQuery):
    user_id: UUID | None = None
    actor_id: UUID | None = None
    action: Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,60}$")] | None = None


@router.get("/admin/audit")
async def list_audit(
    here: Here,
    page: Annotated[AuditQuery, Query()],
    caller: Annotated[Caller, Depends(permits("audit:read"))],
) -> Page[AuditOut]:
    async with here.db.reader() as db:
        rows = await queries.select_audit(
            db,
            user_id=page.user_id,
            actor_id=page.actor_id,
            action=page.action,
            before=page.after(UUID),
            most=page.limit,
        )
    return Page(
        data=[
            AuditOut(**{**row._asdict(), "facts": msgspec.json.decode(row.facts)}) for row in rows
        ],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )


@router.get("/users/me/activity")
async def list_activity(here: Here, caller: SignedIn, page: PageOf) -> Page[ActivityOut]:
    async with here.db.reader() as db:
        rows = await queries.select_audit(
            db,
            user_id=caller.user_id,
            actor_id=None,
            action=None,
            before=page.after(UUID),
            most=page.limit,
        )
    return Page(
        data=[activity_of(row, caller.user_id) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.id),
    )
