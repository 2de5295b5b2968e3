"""Roles are made, filled, given and taken; each change holds everywhere when it is answered.

What the giver may give is read again inside the transaction: the guard's answer may be older.
"""

from collections.abc import Sequence
from uuid import UUID

from holdfast.apps.identity.access.schemas import role_subject, user_subject
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles import queries
from holdfast.apps.identity.roles.rules import refuse_beyond
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from holdfast.core.outbox import emit

ADMIN = "admin"


async def create_role(
    here: Identity, *, giver: Caller, role: str, description: str, permissions: Sequence[str]
) -> None:
    async with here.db.transaction() as db:
        own = await permissions_of(db, giver, needed="roles:write")
        await require_known(db, "permissions", permissions)
        refuse_beyond(own, permissions)
        if not await queries.insert_role(db, role=role, description=description):
            raise NameTakenError(f"There is a role {role} already.")
        await queries.insert_role_permissions(db, role=role, permissions=permissions)
        await record(
            db, "role.created", actor=giver.user_id, role=role, permissions=sorted(set(permissions))
        )


async def change_role(here: Identity, *, giver: Caller, role: str, description: str) -> None:
    async with here.db.transaction() as db:
        await permissions_of(db, giver, needed="roles:write")
        if not await queries.update_role_description(db, role=role, description=description):
            raise NotFoundError(f"There is no role {role}.")
        await record(db, "role.changed", actor=giver.user_id, role=role, description=description)


async def delete_role(here: Identity, *, giver: Caller, role: str) -> None:
    async with epochs.change(here.lease) as change:
        await permissions_of(change.db, giver, needed="roles:write")
        if await _lock_role(change.db, role):
            raise BuiltInError(f"The role {role} is built in and cannot be removed.")
        await queries.delete_role(change.db, role)
        await record(change.db, "role.deleted", actor=giver.user_id, role=role)
        await _announce(change, role_subject(role), role=role, deleted=True)


async def add_permission(here: Identity, *, giver: Caller, role: str, permission: str) -> None:
    async with epochs.change(here.lease) as change:
        own = await permissions_of(change.db, giver, needed="roles:write")
        await _lock_role(change.db, role)
        if not await queries.select_known_permissions(change.db, [permission]):
            raise NotFoundError(f"There is no permission {permission}.")
        refuse_beyond(own, [permission])
        if await queries.insert_role_permissions(change.db, role=role, permissions=[permission]):
            await record(
                change.db,
                "role.permission_added",
                actor=giver.user_id,
                role=role,
                permission=permission,
            )
            await _announce(change, role_subject(role), role=role, added=permission)


async def remove_permission(here: Identity, *, giver: Caller, role: str, permission: str) -> None:
    async with epochs.change(here.lease) as change:
        await permissions_of(change.db, giver, needed="roles:write")
        await _lock_role(change.db, role)
        if role == ADMIN:
            raise ConflictError("The role admin permits everything; nothing is taken from it.")
        if await queries.delete_role_permission(change.db, role=role, permission=permission):
            await record(
                change.db,
                "role.permission_removed",
                actor=giver.user_id,
                role=role,
                permission=permission,
            )
            await _announce(change, role_subject(role), role=role, removed=permission)


async def create_permission(
    here: Identity, *, giver: Caller, permission: str, description: str
) -> None:
    """A new permission belongs to the role admin, so that there is somebody to give it."""
    async with epochs.change(here.lease) as change:
        await permissions_of(change.db, giver, needed="roles:write")
        if not await queries.insert_permission(
            change.db, permission=permission, description=description
        ):
            raise NameTakenError(f"There is a permission {permission} already.")
        await queries.insert_role_permissions(change.db, role=ADMIN, permissions=[permission])
        await record(change.db, "permission.created", actor=giver.user_id, permission=permission)
        await _announce(change, role_subject(ADMIN), role=ADMIN, added=permission)


async def assign_role(here: Identity, *, giver: Caller, user_id: UUID, role: str) -> None:
    async with epochs.change(here.lease) as change:
        own = await permissions_of(change.db, giver, needed="roles:assign")
        await _lock_role(change.db, role)
        refuse_beyond(own, await queries.select_role_permissions(change.db, role))
        await require_user(change.db, user_id)
        if await queries.insert_user_role(change.db, user_id=user_id, role=role):
            await record(change.db, "role.assigned", actor=giver.user_id, user=user_id, role=role)
            await _announce(change, user_subject(user_id), user_id=user_id, assigned=role)


async def unassign_role(here: Identity, *, giver: Caller, user_id: UUID, role: str) -> None:
    async with epochs.change(here.lease) as change:
        await permissions_of(change.db, giver, needed="roles:assign")
        await _lock_role(change.db, role)
        await require_user(change.db, user_id)
        if role == ADMIN:
            await keep_an_admin(change.db, user_id)
        if await queries.delete_user_role(change.db, user_id=user_id, role=role):
            await record(change.db, "role.unassigned", actor=giver.user_id, user=user_id, role=role)
            await _announce(change, user_subject(user_id), user_id=user_id, unassigned=role)


async def permissions_of(db: Executor, caller: Caller, *, needed: str) -> frozenset[str]:
    """What the caller may do at this moment, by the tables, and as far as their token reaches."""
    own = await queries.select_own_permissions(db, caller.user_id)
    permitted = caller.grants.permissions.intersection(own)
    if needed not in permitted:
        raise ForbiddenError(f"This needs the permission {needed}.")
    return permitted


async def keep_an_admin(db: Executor, user_id: UUID) -> None:
    """Refuse to lose the last admin; whoever takes another one away meanwhile waits."""
    await _lock_role(db, ADMIN)
    if await queries.select_is_last_admin(db, user_id):
        raise LastAdminError


async def require_known(db: Executor, field: str, permissions: Sequence[str]) -> None:
    """Refuse permissions that there are not; `field` is where the caller named them."""
    unknown = set(permissions) - set(await queries.select_known_permissions(db, permissions))
    if unknown:
        raise InvalidError((field, f"there is no {', '.join(sorted(unknown))}"))


async def _lock_role(db: Executor, role: str) -> bool:
    """Whether the role is built in; refuses when there is none."""
    built_in = await queries.lock_role(db, role)
    if built_in is None:
        raise NotFoundError(f"There is no role {role}.")
    return built_in


async def require_user(db: Executor, user_id: UUID) -> None:
    if await queries.lock_user(db, user_id) is None:
        raise NotFoundError("There is no account with this id.")


async def _announce(change: epochs.Change, subject: str, **told: object) -> None:
    change.touches(subject)
    await emit(change.db, "role.changed", told)


class NameTakenError(ConflictError):
    sentence = "There is one by this name already."


class BuiltInError(ConflictError):
    sentence = "It is built in and cannot be removed."


class LastAdminError(ConflictError):
    sentence = "This is the last admin. Make another one first."
