"""The admin console: what the API's administrators do, on pages that work without a script.

Each page asks for the permission that its API route asks for, and each form calls the same action.
Whoever gives power away or deletes for ever has proved lately to be who they are.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path as Folder
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from fastapi import Depends, Form, Path, Query, Request, Response

from holdfast.apps.identity.audit.queries import Entry, select_audit
from holdfast.apps.identity.browser import Person, person_with
from holdfast.apps.identity.clients import actions as clients
from holdfast.apps.identity.clients.queries import Client, select_client, select_clients
from holdfast.apps.identity.clients.schemas import ClientId
from holdfast.apps.identity.console import queries
from holdfast.apps.identity.console.schemas import (
    AssignmentForm,
    BanForm,
    ClientForm,
    DeletionForm,
    GrantForm,
)
from holdfast.apps.identity.frame import FramedPages, go, page_router
from holdfast.apps.identity.guard import Caller, require_fresh
from holdfast.apps.identity.history.queries import Login, select_logins
from holdfast.apps.identity.history.routes import BEFORE_ALL, Position
from holdfast.apps.identity.moderation import actions as moderation
from holdfast.apps.identity.moderation.queries import WholeUser, select_user, select_users
from holdfast.apps.identity.resources import Here, Identity
from holdfast.apps.identity.roles import actions as roles
from holdfast.apps.identity.roles.queries import select_permissions, select_role, select_roles
from holdfast.apps.identity.roles.schemas import (
    PermissionIn,
    PermissionName,
    RoleChangeIn,
    RoleIn,
    RoleName,
)
from holdfast.apps.identity.sessions.actions import end_sessions
from holdfast.apps.identity.sessions.queries import select_open_sessions
from holdfast.apps.identity.wire import PageQuery, TextPosition, next_cursor
from holdfast.core.errors import ForbiddenError, InvalidError, NotFoundError

pages = FramedPages("console", Folder(__file__).parent / "pages")
router = page_router()
router.include_router(pages.router)

A_PAGE = 20
MOST = 1000  # roles and permissions are few: they are shown whole
ENTRANCES = {
    "users:read": "/admin/users",
    "roles:read": "/admin/roles",
    "audit:read": "/admin/audit",
    "clients:read": "/admin/clients",
}

UserReader = Annotated[Caller, Depends(person_with("users:read"))]
UserWriter = Annotated[Caller, Depends(person_with("users:write"))]
Ender = Annotated[Caller, Depends(person_with("sessions:write"))]
RoleReader = Annotated[Caller, Depends(person_with("roles:read"))]
RoleWriter = Annotated[Caller, Depends(person_with("roles:write"))]
Assigner = Annotated[Caller, Depends(person_with("roles:assign"))]
Auditor = Annotated[Caller, Depends(person_with("audit:read"))]
ClientReader = Annotated[Caller, Depends(person_with("clients:read"))]
ClientWriter = Annotated[Caller, Depends(person_with("clients:write"))]

Search = Annotated[str, Query(max_length=254)]
Cursor = Annotated[str | None, Query(max_length=200)]
Role = Annotated[RoleName, Path()]
Permission = Annotated[PermissionName, Path()]
Id = Annotated[ClientId, Path()]


@router.get("/admin")
async def show_console(person: Person) -> Response:
    for permission, address in ENTRANCES.items():
        if permission in person.grants.permissions:
            return go(address)
    raise ForbiddenError


@router.get("/admin/users")
async def show_users(
    here: Here,
    request: Request,
    person: UserReader,
    *,
    search: Search = "",
    state: Literal["all", "open", "banned"] = "all",
    role: Annotated[str, Query(max_length=40)] = "",
    cursor: Cursor = None,
) -> Response:
    rows = await select_users(
        here.db,
        before=PageQuery(cursor=cursor).after(UUID),
        search=search.strip().lower().replace("\0", ""),
        banned=None if state == "all" else state == "banned",
        role=role or None,
        most=A_PAGE,
    )
    return pages.page(
        request,
        "users.html",
        users=rows,
        roles=[(one.name, one.name) for one in await select_roles(here.db, after="", most=MOST)],
        asked={"search": search, "state": state, "role": role},
        cursor=next_cursor(rows, A_PAGE, lambda row: row.id),
    )


@router.get("/admin/users/{user_id}")
async def show_user(
    here: Here,
    request: Request,
    person: UserReader,
    *,
    user_id: UUID,
    sessions: Cursor = None,
    logins: Cursor = None,
) -> Response:
    open_sessions = await select_open_sessions(
        here.db, user_id=user_id, before=PageQuery(cursor=sessions).after(UUID), most=A_PAGE
    )
    attempts = await _logins_of(here, user_id, logins)
    user = await _user(here, user_id)
    return pages.page(
        request,
        "user.html",
        user=user,
        others=await _assignable(here, person, user.roles),
        sessions=open_sessions,
        sessions_cursor=next_cursor(open_sessions, A_PAGE, lambda row: row.id),
        logins=attempts,
        logins_cursor=next_cursor(attempts, A_PAGE, lambda row: (row.period, row.position)),
    )


async def _user(here: Identity, user_id: UUID) -> WholeUser:
    user = await select_user(here.db, user_id)
    if user is None:
        raise NotFoundError
    return user


async def _assignable(here: Identity, person: Caller, had: Collection[str]) -> dict[str, str]:
    """Roles that somebody has not, and that this person may give: nobody gives what they lack."""
    return {
        role.name: role.name
        for role in await select_roles(here.db, after="", most=MOST)
        if role.name not in had and person.grants.permissions.issuperset(role.permissions)
    }


async def _logins_of(here: Identity, user_id: UUID, cursor: str | None) -> list[Login]:
    period, position = PageQuery(cursor=cursor).after(Position) or BEFORE_ALL
    async with here.db.reader() as db:
        return await select_logins(
            db,
            user_id=user_id,
            before_period=period,
            before_position=position,
            most=A_PAGE,
        )


@router.post("/admin/users/{user_id}/ban")
async def ban(
    here: Here, person: UserWriter, user_id: UUID, wanted: Annotated[BanForm, Form()]
) -> Response:
    await moderation.ban_user(here, person, user_id, reason=wanted.reason or None)
    return _to_user(user_id, done="banned")


@router.post("/admin/users/{user_id}/unban")
async def unban(here: Here, person: UserWriter, user_id: UUID) -> Response:
    await moderation.unban_user(here, person, user_id)
    return _to_user(user_id, done="unbanned")


@router.post("/admin/users/{user_id}/unlock")
async def unlock(here: Here, person: UserWriter, user_id: UUID) -> Response:
    await moderation.unlock_user(here, person, user_id)
    return _to_user(user_id, done="unlocked")


@router.post("/admin/users/{user_id}/logout")
async def log_out(here: Here, person: Ender, user_id: UUID) -> Response:
    await moderation.log_out_user(here, person, user_id)
    return _to_user(user_id, done="logged-out")


@router.post("/admin/users/{user_id}/sessions/{session_id}/end")
async def end(here: Here, person: Ender, user_id: UUID, session_id: UUID) -> Response:
    await end_sessions(here, [session_id], noted_as="session.revoked", actor=person.user_id)
    return _to_user(user_id, done="session-ended")


@router.post("/admin/users/{user_id}/delete")
async def delete(
    here: Here, person: UserWriter, user_id: UUID, wanted: Annotated[DeletionForm, Form()]
) -> Response:
    require_fresh(person)
    user = await _user(here, user_id)
    if wanted.email != user.email:
        raise InvalidError(("email", "wrong_confirmation"))
    await moderation.delete_user(here, person, user_id)
    return go("/admin/users", done="user-deleted")


@router.post("/admin/users/{user_id}/roles")
async def assign(
    here: Here, person: Assigner, user_id: UUID, wanted: Annotated[AssignmentForm, Form()]
) -> Response:
    require_fresh(person)
    await roles.assign_role(here, giver=person, user_id=user_id, role=wanted.role)
    return _to_user(user_id, done="assigned")


@router.post("/admin/users/{user_id}/roles/{role}/remove")
async def unassign(here: Here, person: Assigner, user_id: UUID, role: Role) -> Response:
    await roles.unassign_role(here, giver=person, user_id=user_id, role=role)
    return _to_user(user_id, done="unassigned")


def _to_user(user_id: UUID, *, done: str) -> Response:
    return go(f"/admin/users/{user_id}", done=done)


@router.get("/admin/roles")
async def show_roles(here: Here, request: Request, person: RoleReader) -> Response:
    known = await select_roles(here.db, after="", most=MOST)
    return pages.page(request, "roles.html", roles=known)


@router.post("/admin/roles")
async def create_role(
    here: Here, person: RoleWriter, wanted: Annotated[RoleIn, Form()]
) -> Response:
    await roles.create_role(
        here,
        giver=person,
        role=wanted.name,
        description=wanted.description,
        permissions=wanted.permissions,
    )
    return _to_role(wanted.name, done="role-created")


@router.get("/admin/permissions")
async def show_permissions(here: Here, request: Request, person: RoleReader) -> Response:
    known = await select_permissions(here.db, after="", most=MOST)
    return pages.page(request, "permissions.html", permissions=known)


@router.post("/admin/permissions")
async def create_permission(
    here: Here, person: RoleWriter, wanted: Annotated[PermissionIn, Form()]
) -> Response:
    await roles.create_permission(
        here, giver=person, permission=wanted.name, description=wanted.description
    )
    return go("/admin/permissions", done="permission-created")


@router.get("/admin/roles/{role}")
async def show_role(here: Here, request: Request, person: RoleReader, role: Role) -> Response:
    row = await select_role(here.db, role)
    if row is None:
        raise NotFoundError
    known = await select_permissions(here.db, after="", most=MOST)
    addable = person.grants.permissions.difference(row.permissions)
    return pages.page(
        request,
        "role.html",
        role=row,
        about={permission.name: permission.description for permission in known},
        others={name: name for name in sorted(addable)},
    )


@router.post("/admin/roles/{role}")
async def change_role(
    here: Here, person: RoleWriter, role: Role, wanted: Annotated[RoleChangeIn, Form()]
) -> Response:
    await roles.change_role(here, giver=person, role=role, description=wanted.description)
    return _to_role(role, done="role-changed")


@router.post("/admin/roles/{role}/permissions")
async def add_permission(
    here: Here, person: RoleWriter, role: Role, wanted: Annotated[GrantForm, Form()]
) -> Response:
    require_fresh(person)
    await roles.add_permission(here, giver=person, role=role, permission=wanted.permission)
    return _to_role(role, done="permission-added")


@router.post("/admin/roles/{role}/permissions/{permission}/remove")
async def remove_permission(
    here: Here, person: RoleWriter, role: Role, permission: Permission
) -> Response:
    await roles.remove_permission(here, giver=person, role=role, permission=permission)
    return _to_role(role, done="permission-removed")


@router.post("/admin/roles/{role}/delete")
async def delete_role(here: Here, person: RoleWriter, role: Role) -> Response:
    await roles.delete_role(here, giver=person, role=role)
    return go("/admin/roles", done="role-deleted")


def _to_role(role: str, *, done: str) -> Response:
    return go(f"/admin/roles/{role}", done=done)


@router.get("/admin/audit")
async def show_audit(
    here: Here,
    request: Request,
    person: Auditor,
    *,
    who: Search = "",
    part: Literal["user", "actor"] = "user",
    action: Annotated[str, Query(pattern=r"^[a-z0-9_.]{0,60}$")] = "",
    cursor: Cursor = None,
) -> Response:
    someone = await _whose(here, who) if who else None
    rows: list[Entry] = []
    if someone or not who:
        async with here.db.reader() as db:
            rows = await select_audit(
                db,
                user_id=someone if part == "user" else None,
                actor_id=someone if part == "actor" else None,
                action=action or None,
                before=PageQuery(cursor=cursor).after(UUID),
                most=A_PAGE,
            )
    return pages.page(
        request,
        "audit.html",
        entries=[(row, msgspec.json.decode(row.facts)) for row in rows],
        addresses=await _addresses(here, rows),
        asked={"who": who, "part": part, "action": action},
        cursor=next_cursor(rows, A_PAGE, lambda row: row.id),
    )


async def _whose(here: Identity, who: str) -> UUID | None:
    """The id, or the address, that somebody has typed."""
    with suppress(ValueError):
        return UUID(who.strip())
    return await queries.select_user_by_address(here.db, who.strip().lower().replace("\0", ""))


async def _addresses(here: Identity, rows: Iterable[Entry]) -> dict[UUID, str | None]:
    ids = {one for row in rows for one in (row.actor_id, row.user_id) if one}
    return {row.id: row.email for row in await queries.select_addresses(here.db, sorted(ids))}


@router.get("/admin/clients")
async def show_clients(
    here: Here, request: Request, person: ClientReader, cursor: Cursor = None
) -> Response:
    after = PageQuery(cursor=cursor).after(TextPosition) or ""
    rows = await select_clients(here.db, after=after, most=A_PAGE)
    return pages.page(
        request,
        "clients.html",
        clients=rows,
        cursor=next_cursor(rows, A_PAGE, lambda row: row.id),
    )


@router.post("/admin/clients")
async def create_client(
    here: Here, request: Request, person: ClientWriter, wanted: Annotated[ClientForm, Form()]
) -> Response:
    require_fresh(person)
    client, secret = await clients.create_client(here, person, wanted.client())
    if secret is None:
        return _to_client(client.id, done="client-created")
    return pages.page(request, "secret.html", client=client, secret=secret)


@router.get("/admin/clients/{client_id}")
async def show_client(
    here: Here, request: Request, person: ClientReader, client_id: Id
) -> Response:
    client = await _client(here, client_id)
    had = await queries.select_roles_of(here.db, client.service_id) if client.service_id else []
    return pages.page(
        request,
        "client.html",
        client=client,
        roles=had,
        others=await _assignable(here, person, had),
    )


@router.post("/admin/clients/{client_id}")
async def change_client(
    here: Here, person: ClientWriter, client_id: Id, wanted: Annotated[ClientForm, Form()]
) -> Response:
    require_fresh(person)
    await clients.change_client(here, person, client_id, wanted.change())
    return _to_client(client_id, done="client-changed")


@router.post("/admin/clients/{client_id}/secret")
async def rotate(here: Here, request: Request, person: ClientWriter, client_id: Id) -> Response:
    require_fresh(person)
    secret = await clients.rotate_client_secret(here, person, client_id)
    client = await _client(here, client_id)
    return pages.page(request, "secret.html", client=client, secret=secret)


@router.post("/admin/clients/{client_id}/delete")
async def delete_client(here: Here, person: ClientWriter, client_id: Id) -> Response:
    await clients.delete_client(here, person, client_id)
    return go("/admin/clients", done="client-deleted")


@router.post("/admin/clients/{client_id}/roles")
async def assign_to_client(
    here: Here, person: Assigner, client_id: Id, wanted: Annotated[AssignmentForm, Form()]
) -> Response:
    require_fresh(person)
    service = await _service(here, client_id)
    await roles.assign_role(here, giver=person, user_id=service, role=wanted.role)
    return _to_client(client_id, done="assigned")


@router.post("/admin/clients/{client_id}/roles/{role}/remove")
async def unassign_from_client(here: Here, person: Assigner, client_id: Id, role: Role) -> Response:
    service = await _service(here, client_id)
    await roles.unassign_role(here, giver=person, user_id=service, role=role)
    return _to_client(client_id, done="unassigned")


async def _client(here: Identity, client_id: str) -> Client:
    client = await select_client(here.db, client_id)
    if client is None:
        raise NotFoundError
    return client


async def _service(here: Identity, client_id: str) -> UUID:
    """The user that the client is when it calls by itself."""
    service_id = (await _client(here, client_id)).service_id
    if service_id is None:
        raise NotFoundError
    return service_id


def _to_client(client_id: str, *, done: str) -> Response:
    return go(f"/admin/clients/{client_id}", done=done)
