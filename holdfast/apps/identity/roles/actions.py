"""Roles are made, filled, given and taken; each change holds everywhere when it is answered.

What the giver may give is read again inside the transaction: the guard's answer may be older.
"""

from collections.abc import Sequence
from uuid import UUID

from holdfast.apps.identity.access.schemas import role_subject, user_subject
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles import queries
from holdfast.apps.identity.roles.rules import refuse_beyond
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from holdfast.core.outbox import emit

ADMIN = "admin"


async def create_role(
    here: Identity, *, giver: UUID, role: str, description: str, permissions: Sequence[str]
) -> None:
    async with here.db.transaction() as db:
        own = await _own_permissions(db, giver, needed="roles:write")
        await _require_known(db, permissions)
        refuse_beyond(own, permissions)
        if not await queries.insert_role(db, role=role, description=description):
            raise ConflictError(f"There is a role {role} already.")
        await queries.insert_role_permissions(db, role=role, permissions=permissions)


async def delete_role(here: Identity, *, giver: UUID, role: str) -> None:
    async with epochs.change(here.lease) as change:
        await _own_permissions(change.db, giver, needed="roles:write")
        if await _lock_role(change.db, role):
            raise ConflictError(f"The role {role} is built in and cannot be removed.")
        await queries.delete_role(change.db, role)
        await _announce(change, role_subject(role), role=role, deleted=True)


async def add_permission(here: Identity, *, giver: UUID, role: str, permission: str) -> None:
    async with epochs.change(here.lease) as change:
        own = await _own_permissions(change.db, giver, needed="roles:write")
        await _lock_role(change.db, role)
        if not await queries.select_known_permissions(change.db, [permission]):
            raise NotFoundError(f"There is no permission {permission}.")
        refuse_beyond(own, [permission])
        if await queries.insert_role_permissions(change.db, role=role, permissions=[permission]):
            await _announce(change, role_subject(role), role=role, added=permission)


async def remove_permission(here: Identity, *, giver: UUID, role: str, permission: str) -> None:
    async with epochs.change(here.lease) as change:
        await _own_permissions(change.db, giver, needed="roles:write")
        await _lock_role(change.db, role)
        if role == ADMIN:
            raise ConflictError("The role admin permits everything; nothing is taken from it.")
        if await queries.delete_role_permission(change.db, role=role, permission=permission):
            await _announce(change, role_subject(role), role=role, removed=permission)


async def create_permission(
    here: Identity, *, giver: UUID, permission: str, description: str
) -> None:
    """A new permission belongs to the role admin, so that there is somebody to give it."""
    async with epochs.change(here.lease) as change:
        await _own_permissions(change.db, giver, needed="roles:write")
        if not await queries.insert_permission(
            change.db, permission=permission, description=description
        ):
            raise ConflictError(f"There is a permission {permission} already.")
        await queries.insert_role_permissions(change.db, role=ADMIN, permissions=[permission])
        await _announce(change, role_subject(ADMIN), role=ADMIN, added=permission)


async def assign_role(here: Identity, *, giver: UUID, user_id: UUID, role: str) -> None:
    async with epochs.change(here.lease) as change:
        own = await _own_permissions(change.db, giver, needed="roles:assign")
        await _lock_role(change.db, role)
        refuse_beyond(own, await queries.select_role_permissions(change.db, role))
        await _require_user(change.db, user_id)
        if await queries.insert_user_role(change.db, user_id=user_id, role=role):
            await _announce(change, user_subject(user_id), user_id=user_id, assigned=role)


async def unassign_role(here: Identity, *, giver: UUID, user_id: UUID, role: str) -> None:
    async with epochs.change(here.lease) as change:
        await _own_permissions(change.db, giver, needed="roles:assign")
        await _lock_role(change.db, role)
        await _require_user(change.db, user_id)
        if role == ADMIN and not await queries.select_admins_left(change.db, user_id):
            raise ConflictError("This is the last admin. Make another one first.")
        if await queries.delete_user_role(change.db, user_id=user_id, role=role):
            await _announce(change, user_subject(user_id), user_id=user_id, unassigned=role)


async def _own_permissions(db: Executor, giver: UUID, *, needed: str) -> list[str]:
    """What the giver may do at this moment, by the tables; refuses whoever lacks what is needed."""
    own = await queries.select_user_permissions(db, giver)
    if needed not in own:
        raise ForbiddenError(f"This needs the permission {needed}.")
    return own


async def _lock_role(db: Executor, role: str) -> bool:
    """Whether the role is built in; refuses when there is none."""
    built_in = await queries.lock_role(db, role)
    if built_in is None:
        raise NotFoundError(f"There is no role {role}.")
    return built_in


async def _require_user(db: Executor, user_id: UUID) -> None:
    if await queries.lock_user(db, user_id) is None:
        raise NotFoundError("There is no account with this id.")


async def _require_known(db: Executor, permissions: Sequence[str]) -> None:
    unknown = set(permissions) - set(await queries.select_known_permissions(db, permissions))
    if unknown:
        raise InvalidError(("permissions", f"there is no {', '.join(sorted(unknown))}"))


async def _announce(change: epochs.Change, subject: str, **told: object) -> None:
    change.touches(subject)
    await emit(change.db, "role.changed", told)
