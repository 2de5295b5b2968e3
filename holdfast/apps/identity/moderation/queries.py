"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class User(NamedTuple):
    id: UUID
    email: str
    name: str | None
    created_at: datetime
    email_verified: bool
    banned: bool
    roles: list[str]


SELECT_USERS = """
SELECT u.id, u.email::text AS email, u.name, u.created_at,
  (u.email_verified_at IS NOT NULL)::boolean AS email_verified,
  (u.banned_at IS NOT NULL)::boolean AS banned,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles
FROM users u
WHERE NOT u.service AND ($1::uuid IS NULL OR u.id < $1)
  AND starts_with(u.email, $2::text)
  AND ($3::boolean IS NULL OR (u.banned_at IS NOT NULL) = $3)
  AND ($4::text IS NULL OR EXISTS (
    SELECT FROM user_roles ur WHERE ur.user_id = u.id AND ur.role = $4
  ))
ORDER BY u.id DESC
LIMIT $5
"""


async def select_users(
    db: Executor,
    *,
    before: UUID | None,
    search: str,
    banned: bool | None,
    role: str | None,
    most: int,
) -> list[User]:
    """A page of accounts, newest first; `search` matches the beginning of the address."""
    return [
        User(*record) for record in await db.fetch(SELECT_USERS, before, search, banned, role, most)
    ]


class WholeUser(NamedTuple):
    id: UUID
    email: str
    name: str | None
    created_at: datetime
    email_verified: bool
    banned: bool
    banned_at: datetime | None
    ban_reason: str | None
    second_factor: bool
    roles: list[str]
    permissions: list[str]


SELECT_USER = """
SELECT u.id, u.email::text AS email, u.name, u.created_at,
  (u.email_verified_at IS NOT NULL)::boolean AS email_verified,
  (u.banned_at IS NOT NULL)::boolean AS banned, u.banned_at, u.ban_reason,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles,
  array(
    SELECT DISTINCT rp.permission
    FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
    WHERE ur.user_id = u.id ORDER BY rp.permission
  )::text[] AS permissions
FROM users u
WHERE u.id = $1 AND NOT u.service
"""


async def select_user(db: Executor, user_id: UUID) -> WholeUser | None:
    record = await db.fetchrow(SELECT_USER, user_id)
    return None if record is None else WholeUser(*record)


class LockedAccount(NamedTuple):
    id: UUID
    email: str | None
    banned: bool


LOCK_ACCOUNT = """
SELECT id, email, (banned_at IS NOT NULL)::boolean AS banned FROM users
WHERE id = $1 FOR UPDATE
"""


async def lock_account(db: Executor, user_id: UUID) -> LockedAccount | None:
    """The account, unchanged until commit; no session of it begins meanwhile. A service has no address."""
    record = await db.fetchrow(LOCK_ACCOUNT, user_id)
    return None if record is None else LockedAccount(*record)


UPDATE_USER_BANNED = """
UPDATE users SET banned_at = coalesce(banned_at, now()), ban_reason = $1
WHERE id = $2
"""


async def update_user_banned(db: Executor, *, reason: str | None, user_id: UUID) -> None:
    await db.execute(UPDATE_USER_BANNED, reason, user_id)


UPDATE_USER_UNBANNED = """
UPDATE users SET banned_at = NULL, ban_reason = NULL WHERE id = $1
"""


async def update_user_unbanned(db: Executor, user_id: UUID) -> None:
    await db.execute(UPDATE_USER_UNBANNED, user_id)
