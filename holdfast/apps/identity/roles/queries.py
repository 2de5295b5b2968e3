"""Generated from queries.sql by `make sql`; edit that file instead."""
from typing import Any, NamedTuple
from uuid import UUID
from datetime import datetime, timedelta
from holdfast.core.db import Executor

SELECT_ROLES = """
SELECT r.name, r.description, r.built_in,
  array(
    SELECT rp.permission FROM role_permissions rp WHERE rp.role = r.name ORDER BY rp.permission
  )::text[] AS permissions
FROM roles r
WHERE r.name > $1
ORDER BY r.name
LIMIT $2;"""

class Role(NamedTuple):
    name: str
    description: str
    built_in: bool
    permissions: list[str]


async def select_roles(db: Executor, *, after: Any, most: Any) -> list[Role]:
    return [Role(*r) for r in await db.fetch(SELECT_ROLES, after, most)]

SELECT_ROLE = """
SELECT r.name, r.description, r.built_in,
  array(
    SELECT rp.permission FROM role_permissions rp WHERE rp.role = r.name ORDER BY rp.permission
  )::text[] AS permissions
FROM roles r
WHERE r.name = $1;"""

async def select_role(db: Executor, role: Any) -> Role | None:
    row = await db.fetchrow(SELECT_ROLE, role)
    return Role(*row) if row else None

LOCK_ROLE = """
SELECT built_in FROM roles WHERE name = $1 FOR UPDATE;"""

async def lock_role(db: Executor, role: Any) -> Any:
    return await db.fetchval(LOCK_ROLE, role)

INSERT_ROLE = """
INSERT INTO roles (name, description) VALUES ($1, $2) ON CONFLICT DO NOTHING;"""

async def insert_role(db: Executor, *, role: Any, description: Any) -> int:
    return int((await db.execute(INSERT_ROLE, role, description)).split()[-1])

DELETE_ROLE = """
DELETE FROM roles WHERE name = $1 AND NOT built_in;"""

async def delete_role(db: Executor, role: Any) -> int:
    return int((await db.execute(DELETE_ROLE, role)).split()[-1])

SELECT_KNOWN_PERMISSIONS = """
SELECT name FROM permissions WHERE name = ANY($1::text[]);"""

async def select_known_permissions(db: Executor, permissions: Any) -> list[Any]:
    return [r[0] for r in await db.fetch(SELECT_KNOWN_PERMISSIONS, permissions)]

INSERT_ROLE_PERMISSIONS = """
INSERT INTO role_permissions (role, permission)
SELECT $1, unnest($2::text[])
ON CONFLICT DO NOTHING;"""

async def insert_role_permissions(db: Executor, *, role: Any, permissions: Any) -> int:
    return int((await db.execute(INSERT_ROLE_PERMISSIONS, role, permissions)).split()[-1])

DELETE_ROLE_PERMISSION = """
DELETE FROM role_permissions WHERE role = $1 AND permission = $2;"""

async def delete_role_permission(db: Executor, *, role: Any, permission: Any) -> int:
    return int((await db.execute(DELETE_ROLE_PERMISSION, role, permission)).split()[-1])

SELECT_PERMISSIONS = """
SELECT name, description FROM permissions WHERE name > $1 ORDER BY name LIMIT $2;"""

class Permission(NamedTuple):
    name: str
    description: str


async def select_permissions(db: Executor, *, after: Any, most: Any) -> list[Permission]:
    return [Permission(*r) for r in await db.fetch(SELECT_PERMISSIONS, after, most)]

INSERT_PERMISSION = """
INSERT INTO permissions (name, description) VALUES ($1, $2)
ON CONFLICT DO NOTHING;"""

async def insert_permission(db: Executor, *, permission: Any, description: Any) -> int:
    return int((await db.execute(INSERT_PERMISSION, permission, description)).split()[-1])

LOCK_USER = """
SELECT id FROM users WHERE id = $1 FOR KEY SHARE;"""

async def lock_user(db: Executor, user_id: Any) -> Any:
    return await db.fetchval(LOCK_USER, user_id)

INSERT_USER_ROLE = """
INSERT INTO user_roles (user_id, role) VALUES ($1, $2) ON CONFLICT DO NOTHING;"""

async def insert_user_role(db: Executor, *, user_id: Any, role: Any) -> int:
    return int((await db.execute(INSERT_USER_ROLE, user_id, role)).split()[-1])

DELETE_USER_ROLE = """
DELETE FROM user_roles WHERE user_id = $1 AND role = $2;"""

async def delete_user_role(db: Executor, *, user_id: Any, role: Any) -> int:
    return int((await db.execute(DELETE_USER_ROLE, user_id, role)).split()[-1])

SELECT_ROLE_PERMISSIONS = """
SELECT permission FROM role_permissions WHERE role = $1 ORDER BY permission;"""

async def select_role_permissions(db: Executor, role: Any) -> list[Any]:
    return [r[0] for r in await db.fetch(SELECT_ROLE_PERMISSIONS, role)]

SELECT_USER_PERMISSIONS = """
SELECT DISTINCT rp.permission
FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
WHERE ur.user_id = $1;"""

async def select_user_permissions(db: Executor, user_id: Any) -> list[Any]:
    return [r[0] for r in await db.fetch(SELECT_USER_PERMISSIONS, user_id)]

SELECT_ADMINS_LEFT = """
SELECT count(*) AS others FROM user_roles WHERE role = 'admin' AND user_id <> $1;"""

async def select_admins_left(db: Executor, user_id: Any) -> Any:
    return await db.fetchval(SELECT_ADMINS_LEFT, user_id)
