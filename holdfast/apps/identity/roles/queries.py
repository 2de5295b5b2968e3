"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Role(NamedTuple):
    name: str
    description: str
    built_in: bool
    permissions: list[str]


SELECT_ROLES = """
SELECT r.name, r.description, r.built_in,
  array(
    SELECT rp.permission FROM role_permissions rp WHERE rp.role = r.name ORDER BY rp.permission
  )::text[] AS permissions
FROM roles r
WHERE r.name > $1
ORDER BY r.name
LIMIT $2
"""


async def select_roles(db: Executor, *, after: str, most: int) -> list[Role]:
    return [Role(*record) for record in await db.fetch(SELECT_ROLES, after, most)]


SELECT_ROLE = """
SELECT r.name, r.description, r.built_in,
  array(
    SELECT rp.permission FROM role_permissions rp WHERE rp.role = r.name ORDER BY rp.permission
  )::text[] AS permissions
FROM roles r
WHERE r.name = $1
"""


async def select_role(db: Executor, role: str) -> Role | None:
    record = await db.fetchrow(SELECT_ROLE, role)
    return None if record is None else Role(*record)


LOCK_ROLE = """
SELECT built_in FROM roles WHERE name = $1 FOR UPDATE
"""


async def lock_role(db: Executor, role: str) -> bool | None:
    """The role, unchanged until commit."""
    value: bool | None = await db.fetchval(LOCK_ROLE, role)
    return value


INSERT_ROLE = """
INSERT INTO roles (name, description) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""


async def insert_role(db: Executor, *, role: str, description: str) -> int:
    status = await db.execute(INSERT_ROLE, role, description)
    return int(status.rpartition(" ")[2])


UPDATE_ROLE_DESCRIPTION = """
UPDATE roles SET description = $1 WHERE name = $2
"""


async def update_role_description(db: Executor, *, description: str, role: str) -> int:
    status = await db.execute(UPDATE_ROLE_DESCRIPTION, description, role)
    return int(status.rpartition(" ")[2])


DELETE_ROLE = """
DELETE FROM roles WHERE name = $1 AND NOT built_in
"""


async def delete_role(db: Executor, role: str) -> int:
    status = await db.execute(DELETE_ROLE, role)
    return int(status.rpartition(" ")[2])


SELECT_KNOWN_PERMISSIONS = """
SELECT name FROM permissions WHERE name = ANY($1::text[])
"""


async def select_known_permissions(db: Executor, permissions: Sequence[str]) -> list[str]:
    return [record[0] for record in await db.fetch(SELECT_KNOWN_PERMISSIONS, permissions)]


INSERT_ROLE_PERMISSIONS = """
INSERT INTO role_permissions (role, permission)
SELECT $1, unnest($2::text[])
ON CONFLICT DO NOTHING
"""


async def insert_role_permissions(db: Executor, *, role: str, permissions: Sequence[str]) -> int:
    status = await db.execute(INSERT_ROLE_PERMISSIONS, role, permissions)
    return int(status.rpartition(" ")[2])


DELETE_ROLE_PERMISSION = """
DELETE FROM role_permissions WHERE role = $1 AND permission = $2
"""


async def delete_role_permission(db: Executor, *, role: str, permission: str) -> int:
    status = await db.execute(DELETE_ROLE_PERMISSION, role, permission)
    return int(status.rpartition(" ")[2])


class Permission(NamedTuple):
    name: str
    description: str


SELECT_PERMISSIONS = """
SELECT name, description FROM permissions WHERE name > $1 ORDER BY name LIMIT $2
"""


async def select_permissions(db: Executor, *, after: str, most: int) -> list[Permission]:
    return [Permission(*record) for record in await db.fetch(SELECT_PERMISSIONS, after, most)]


INSERT_PERMISSION = """
INSERT INTO permissions (name, description) VALUES ($1, $2)
ON CONFLICT DO NOTHING
"""


async def insert_permission(db: Executor, *, permission: str, description: str) -> int:
    status = await db.execute(INSERT_PERMISSION, permission, description)
    return int(status.rpartition(" ")[2])


LOCK_USER = """
SELECT id FROM users WHERE id = $1 FOR KEY SHARE
"""


async def lock_user(db: Executor, user_id: UUID) -> UUID | None:
    """The user, present until commit."""
    value: UUID | None = await db.fetchval(LOCK_USER, user_id)
    return value


INSERT_USER_ROLE = """
INSERT INTO user_roles (user_id, role) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""


async def insert_user_role(db: Executor, *, user_id: UUID, role: str) -> int:
    status = await db.execute(INSERT_USER_ROLE, user_id, role)
    return int(status.rpartition(" ")[2])


DELETE_USER_ROLE = """
DELETE FROM user_roles WHERE user_id = $1 AND role = $2
"""


async def delete_user_role(db: Executor, *, user_id: UUID, role: str) -> int:
    status = await db.execute(DELETE_USER_ROLE, user_id, role)
    return int(status.rpartition(" ")[2])


SELECT_ROLE_PERMISSIONS = """
SELECT permission FROM role_permissions WHERE role = $1 ORDER BY permission
"""


async def select_role_permissions(db: Executor, role: str) -> list[str]:
    return [record[0] for record in await db.fetch(SELECT_ROLE_PERMISSIONS, role)]


SELECT_USER_PERMISSIONS = """
SELECT DISTINCT rp.permission
FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
WHERE ur.user_id = $1
ORDER BY rp.permission
"""


async def select_user_permissions(db: Executor, user_id: UUID) -> list[str]:
    """What a user's roles permit, also while the account is banned."""
    return [record[0] for record in await db.fetch(SELECT_USER_PERMISSIONS, user_id)]


SELECT_OWN_PERMISSIONS = """
SELECT DISTINCT rp.permission
FROM users u
  JOIN user_roles ur ON ur.user_id = u.id
  JOIN role_permissions rp ON rp.role = ur.role
WHERE u.id = $1 AND u.banned_at IS NULL
"""


async def select_own_permissions(db: Executor, user_id: UUID) -> list[str]:
    """What whoever is calling may do at this moment, by the tables and not by any cache."""
    return [record[0] for record in await db.fetch(SELECT_OWN_PERMISSIONS, user_id)]


SELECT_IS_LAST_ADMIN = """
SELECT (
  EXISTS (SELECT FROM user_roles ur WHERE ur.role = 'admin' AND ur.user_id = $1)
  AND NOT EXISTS (
    SELECT FROM user_roles ur JOIN users u ON u.id = ur.user_id
    WHERE ur.role = 'admin' AND u.id <> $1 AND u.banned_at IS NULL AND NOT u.service
  )
)::boolean AS is_last
"""


async def select_is_last_admin(db: Executor, user_id: UUID) -> bool | None:
    """Whether nobody else is left who could give roles: a person, and not banned."""
    [record] = await db.fetch(SELECT_IS_LAST_ADMIN, user_id)
    value: bool | None = record[0]
    return value
