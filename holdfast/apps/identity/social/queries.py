"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

SELECT_LINK_OWNER = """
SELECT user_id FROM oauth_accounts WHERE provider = $1 AND provider_id = $2
"""


async def select_link_owner(db: Executor, *, provider: str, provider_id: str) -> UUID | None:
    value: UUID | None = await db.fetchval(SELECT_LINK_OWNER, provider, provider_id)
    return value


class Account(NamedTuple):
    user_id: UUID
    email: str
    language: str
    verified: bool
    banned: bool
    second_factor: bool
    linked: bool


LOCK_ACCOUNT = """
SELECT u.id AS user_id, u.email::text AS email, u.language,
  (u.email_verified_at IS NOT NULL)::boolean AS verified,
  (u.banned_at IS NOT NULL)::boolean AS banned,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor,
  EXISTS (
    SELECT FROM oauth_accounts o WHERE o.user_id = u.id AND o.provider = $1
  )::boolean AS linked
FROM users u
WHERE NOT u.service AND (u.id = $2 OR u.email = $3)
FOR NO KEY UPDATE OF u
"""


async def lock_account(
    db: Executor, *, provider: str, user_id: UUID | None, email: str | None
) -> Account | None:
    """The account with this id or this address, as the decision about a link needs it; it cannot change
    until the link is made.
    """
    record = await db.fetchrow(LOCK_ACCOUNT, provider, user_id, email)
    return None if record is None else Account(*record)


INSERT_VERIFIED_USER = """
INSERT INTO users (email, language, email_verified_at) VALUES ($1, $2, now())
ON CONFLICT (email) DO NOTHING
RETURNING id
"""


async def insert_verified_user(db: Executor, *, email: str | None, language: str) -> UUID | None:
    """An account without a password, whose address its provider has verified. No row: it is taken."""
    value: UUID | None = await db.fetchval(INSERT_VERIFIED_USER, email, language)
    return value


INSERT_LINK = """
INSERT INTO oauth_accounts (provider, provider_id, user_id, email)
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""


async def insert_link(
    db: Executor, *, provider: str, provider_id: str, user_id: UUID, email: str | None
) -> int:
    status = await db.execute(INSERT_LINK, provider, provider_id, user_id, email)
    return int(status.rpartition(" ")[2])


UPDATE_LINK_EMAIL = """
UPDATE oauth_accounts SET email = $1
WHERE provider = $2 AND provider_id = $3
  AND email IS DISTINCT FROM $1
"""


async def update_link_email(
    db: Executor, *, email: str | None, provider: str, provider_id: str
) -> None:
    """As the provider tells it today."""
    await db.execute(UPDATE_LINK_EMAIL, email, provider, provider_id)


class LinkRow(NamedTuple):
    provider: str
    email: str | None
    linked_at: datetime


SELECT_LINKS = """
SELECT provider, email, linked_at FROM oauth_accounts
WHERE user_id = $1
ORDER BY provider
"""


async def select_links(db: Executor, user_id: UUID) -> list[LinkRow]:
    return [LinkRow(*record) for record in await db.fetch(SELECT_LINKS, user_id)]


DELETE_LINK = """
DELETE FROM oauth_accounts WHERE user_id = $1 AND provider = $2
"""


async def delete_link(db: Executor, *, user_id: UUID, provider: str) -> int:
    status = await db.execute(DELETE_LINK, user_id, provider)
    return int(status.rpartition(" ")[2])


SELECT_SESSIONS_BEGUN_BY = """
SELECT id FROM sessions
WHERE user_id = $1 AND $2::text = ANY(amr) AND ended_at IS NULL AND expires_at > now()
"""


async def select_sessions_begun_by(db: Executor, *, user_id: UUID, way: str) -> list[UUID]:
    """The user's open sessions in whose proof a provider had a part."""
    return [record[0] for record in await db.fetch(SELECT_SESSIONS_BEGUN_BY, user_id, way)]
