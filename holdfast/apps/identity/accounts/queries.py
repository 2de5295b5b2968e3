"""Generated from queries.sql by `make sql`; edit that file instead."""
from typing import Any, NamedTuple
from uuid import UUID
from datetime import datetime, timedelta
from holdfast.core.db import Executor

INSERT_USER = """
INSERT INTO users (email, name) VALUES ($1, $2)
ON CONFLICT (email) DO NOTHING
RETURNING id;"""

async def insert_user(db: Executor, *, email: Any, name: Any) -> Any:
    return await db.fetchval(INSERT_USER, email, name)

INSERT_CREDENTIALS = """
INSERT INTO credentials (user_id, password_hash) VALUES ($1, $2);"""

async def insert_credentials(db: Executor, *, user_id: Any, password_hash: Any) -> None:
    await db.execute(INSERT_CREDENTIALS, user_id, password_hash)

INSERT_USER_ROLE = """
INSERT INTO user_roles (user_id, role) VALUES ($1, $2) ON CONFLICT DO NOTHING;"""

async def insert_user_role(db: Executor, *, user_id: Any, role: Any) -> None:
    await db.execute(INSERT_USER_ROLE, user_id, role)

UPDATE_USER_NAME = """
UPDATE users SET name = $1 WHERE id = $2;"""

async def update_user_name(db: Executor, *, name: Any, user_id: Any) -> None:
    await db.execute(UPDATE_USER_NAME, name, user_id)

SELECT_PASSWORD_HASH = """
SELECT password_hash FROM credentials WHERE user_id = $1;"""

async def select_password_hash(db: Executor, user_id: Any) -> Any:
    return await db.fetchval(SELECT_PASSWORD_HASH, user_id)

UPDATE_PASSWORD_HASH = """
UPDATE credentials SET password_hash = $1, changed_at = now()
WHERE user_id = $2 AND password_hash = $3;"""

async def update_password_hash(db: Executor, *, password_hash: Any, user_id: Any, checked_hash: Any) -> int:
    return int((await db.execute(UPDATE_PASSWORD_HASH, password_hash, user_id, checked_hash)).split()[-1])

SELECT_USERS = """
SELECT u.id, u.email, u.name, u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE ($1::uuid IS NULL OR u.id < $1)
  AND starts_with(u.email, $2::text)
ORDER BY u.id DESC
LIMIT $3;"""

class User(NamedTuple):
    id: UUID
    email: str
    name: str
    created_at: datetime
    roles: list[str]


async def select_users(db: Executor, *, before: Any, search: Any, most: Any) -> list[User]:
    return [User(*r) for r in await db.fetch(SELECT_USERS, before, search, most)]

SELECT_USER = """
SELECT u.id, u.email, u.name, u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE u.id = $1;"""

async def select_user(db: Executor, user_id: Any) -> User | None:
    row = await db.fetchrow(SELECT_USER, user_id)
    return User(*row) if row else None
