"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Owner(NamedTuple):
    email: str
    language: str


LOCK_OWNER = """
SELECT email::text AS email, language FROM users
WHERE id = $1 AND NOT service FOR NO KEY UPDATE
"""


async def lock_owner(db: Executor, user_id: UUID) -> Owner | None:
    """Whose tokens are made or ended: one at a time, and neither while the account goes."""
    record = await db.fetchrow(LOCK_OWNER, user_id)
    return None if record is None else Owner(*record)


class PersonalToken(NamedTuple):
    id: UUID
    name: str
    scopes: list[str] | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


INSERT_TOKEN = """
WITH over AS (
  DELETE FROM personal_tokens WHERE user_id = $1 AND expires_at <= now()
)
INSERT INTO personal_tokens (user_id, name, scopes, expires_at)
SELECT $1, $2, $3::text[], $4
WHERE (
  SELECT count(*) FROM personal_tokens WHERE user_id = $1 AND expires_at > now()
) < $5::integer
RETURNING id, name, scopes, created_at, expires_at, last_used_at
"""


async def insert_token(
    db: Executor,
    *,
    user_id: UUID,
    name: str,
    scopes: Sequence[str] | None,
    expires_at: datetime,
    most: int,
) -> PersonalToken | None:
    """No row when there are as many as one may have; those whose time is over do not count."""
    record = await db.fetchrow(INSERT_TOKEN, user_id, name, scopes, expires_at, most)
    return None if record is None else PersonalToken(*record)


SELECT_TOKENS = """
SELECT id, name, scopes, created_at, expires_at, last_used_at FROM personal_tokens
WHERE user_id = $1 AND expires_at > now()
  AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def select_tokens(
    db: Executor, *, user_id: UUID, before: UUID | None, most: int
) -> list[PersonalToken]:
    """A page of one user's tokens, newest first."""
    return [
        PersonalToken(*record) for record in await db.fetch(SELECT_TOKENS, user_id, before, most)
    ]


SELECT_TOKEN_IDS = """
SELECT id FROM personal_tokens WHERE user_id = $1
"""


async def select_token_ids(db: Executor, user_id: UUID) -> list[UUID]:
    return [record[0] for record in await db.fetch(SELECT_TOKEN_IDS, user_id)]


DELETE_TOKEN = """
DELETE FROM personal_tokens WHERE id = $1 AND user_id = $2 RETURNING name
"""


async def delete_token(db: Executor, *, token_id: UUID, user_id: UUID) -> str | None:
    """The name of what is gone; no row when it is not this user's."""
    value: str | None = await db.fetchval(DELETE_TOKEN, token_id, user_id)
    return value


DELETE_USER_TOKENS = """
DELETE FROM personal_tokens WHERE user_id = $1 RETURNING id
"""


async def delete_user_tokens(db: Executor, user_id: UUID) -> list[UUID]:
    return [record[0] for record in await db.fetch(DELETE_USER_TOKENS, user_id)]
