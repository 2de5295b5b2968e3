"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_USER = """
INSERT INTO users (email, name) VALUES ($1, $2)
ON CONFLICT (email) DO NOTHING
RETURNING id
"""


async def insert_user(db: Executor, *, email: str, name: str | None) -> UUID | None:
    """No row when the address is taken."""
    value: UUID | None = await db.fetchval(INSERT_USER, email, name)
    return value


INSERT_CREDENTIALS = """
INSERT INTO credentials (user_id, password_hash) VALUES ($1, $2)
"""


async def insert_credentials(db: Executor, *, user_id: UUID, password_hash: str) -> None:
    await db.execute(INSERT_CREDENTIALS, user_id, password_hash)


UPDATE_USER_NAME = """
UPDATE users SET name = $1 WHERE id = $2
"""


async def update_user_name(db: Executor, *, name: str | None, user_id: UUID) -> None:
    await db.execute(UPDATE_USER_NAME, name, user_id)


SELECT_PASSWORD_HASH = """
SELECT password_hash FROM credentials WHERE user_id = $1
"""


async def select_password_hash(db: Executor, user_id: UUID) -> str | None:
    value: str | None = await db.fetchval(SELECT_PASSWORD_HASH, user_id)
    return value


UPDATE_PASSWORD_HASH = """
UPDATE credentials SET password_hash = $1, changed_at = now()
WHERE user_id = $2 AND password_hash = $3
"""


async def update_password_hash(
    db: Executor, *, password_hash: str, user_id: UUID, checked_hash: str
) -> int:
    """Only if it is still the one that was checked."""
    status = await db.execute(UPDATE_PASSWORD_HASH, password_hash, user_id, checked_hash)
    return int(status.rpartition(" ")[2])


class User(NamedTuple):
    id: UUID
    email: str
    name: str | None
    created_at: datetime
    roles: list[str]


SELECT_USERS = """
SELECT u.id, u.email, u.name, u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE ($1::uuid IS NULL OR u.id < $1)
  AND starts_with(u.email, $2::text)
ORDER BY u.id DESC
LIMIT $3
"""


async def select_users(db: Executor, *, before: UUID | None, search: str, most: int) -> list[User]:
    """A page of accounts, newest first; `search` matches the beginning of the address."""
    return [User(*record) for record in await db.fetch(SELECT_USERS, before, search, most)]


SELECT_USER = """
SELECT u.id, u.email, u.name, u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE u.id = $1
"""


async def select_user(db: Executor, user_id: UUID) -> User | None:
    record = await db.fetchrow(SELECT_USER, user_id)
    return None if record is None else User(*record)
