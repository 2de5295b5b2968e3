"""The admin's API for roles and permissions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response

from holdfast.apps.identity.guard import Caller, permits
from holdfast.apps.identity.resources import Here
from holdfast.apps.identity.roles import actions, queries
from holdfast.apps.identity.roles.schemas import (
    PermissionIn,
    PermissionName,
    PermissionOut,
    RoleChangeIn,
    RoleIn,
    RoleName,
    RoleOut,
)
from holdfast.apps.identity.wire import Data, Page, PageOf, TextPosition, next_cursor
from holdfast.core.errors import NotFoundError

router = APIRouter(prefix="/api/v1/admin")

Reader = Annotated[Caller, Depends(permits("roles:read"))]
Writer = Annotated[Caller, Depends(permits("roles:write"))]
Assigner = Annotated[Caller, Depends(permits("roles:assign"))]
Role = Annotated[RoleName, Path()]
Permission = Annotated[PermissionName, Path()]

DONE = 204


@router.get("/roles")
async def list_roles(here: Here, page: PageOf, caller: Reader) -> Page[RoleOut]:
    rows = await queries.select_roles(
        here.db, after=page.after(TextPosition) or "", most=page.limit
    )
    return Page(
        data=[RoleOut(**row._asdict()) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.name),
    )


@router.post("/roles", status_code=201)
async def create_role(here: Here, wanted: RoleIn, caller: Writer) -> Data[RoleOut]:
    await actions.create_role(
        here,
        giver=caller,
        role=wanted.name,
        description=wanted.description,
        permissions=wanted.permissions,
    )
    return await show_role(here, wanted.name, caller)


@router.get("/roles/{role}")
async def show_role(here: Here, role: Role, caller: Reader) -> Data[RoleOut]:
    row = await queries.select_role(here.db, role)
    if row is None:
        raise NotFoundError(f"There is no role {role}.")
    return Data(data=RoleOut(**row._asdict()))


@router.patch("/roles/{role}")
async def change_role(
    here: Here, role: Role, wanted: RoleChangeIn, caller: Writer
) -> Data[RoleOut]:
    await actions.change_role(here, giver=caller, role=role, description=wanted.description)
    return await show_role(here, role, caller)


@router.delete("/roles/{role}", status_code=DONE)
async def delete_role(here: Here, role: Role, caller: Writer) -> Response:
    await actions.delete_role(here, giver=caller, role=role)
    return Response(status_code=DONE)


@router.put("/roles/{role}/permissions/{permission}", status_code=DONE)
async def add_permission(
    here: Here, role: Role, permission: Permission, caller: Writer
) -> Response:
    await actions.add_permission(here, giver=caller, role=role, permission=permission)
    return Response(status_code=DONE)


@router.delete("/roles/{role}/permissions/{permission}", status_code=DONE)
async def remove_permission(
    here: Here, role: Role, permission: Permission, caller: Writer
) -> Response:
    await actions.remove_permission(here, giver=caller, role=role, permission=permission)
    return Response(status_code=DONE)


@router.get("/permissions")
async def list_permissions(here: Here, page: PageOf, caller: Reader) -> Page[PermissionOut]:
    rows = await queries.select_permissions(
        here.db, after=page.after(TextPosition) or "", most=page.limit
    )
    return Page(
        data=[PermissionOut(**row._asdict()) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.name),
    )


@router.post("/permissions", status_code=201)
async def create_permission(
    here: Here, wanted: PermissionIn, caller: Writer
) -> Data[PermissionOut]:
    await actions.create_permission(
        here, giver=caller, permission=wanted.name, description=wanted.description
    )
    return Data(data=PermissionOut(name=wanted.name, description=wanted.description))


@router.put("/users/{user_id}/roles/{role}", status_code=DONE)
async def assign_role(here: Here, user_id: UUID, role: Role, caller: Assigner) -> Response:
    await actions.assign_role(here, giver=caller, user_id=user_id, role=role)
    return Response(status_code=DONE)


@router.delete("/users/{user_id}/roles/{role}", status_code=DONE)
async def unassign_role(here: Here, user_id: UUID, role: Role, caller: Assigner) -> Response:
    await actions.unassign_role(here, giver=caller, user_id=user_id, role=role)
    return Response(status_code=DONE)
