"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Belongings(NamedTuple):
    profile: str
    roles: str
    second_factor: str
    passkeys: str
    linked_accounts: str
    personal_tokens: str
    consents: str


SELECT_BELONGINGS = """
SELECT
  jsonb_build_object(
    'id', u.id, 'email', u.email, 'email_verified_at', u.email_verified_at, 'name', u.name,
    'language', u.language, 'created_at', u.created_at, 'banned_at', u.banned_at,
    'ban_reason', u.ban_reason,
    'password_changed_at', (SELECT c.changed_at FROM credentials c WHERE c.user_id = u.id)
  ) AS profile,
  (
    SELECT coalesce(jsonb_agg(ur.role ORDER BY ur.role), '[]')
    FROM user_roles ur WHERE ur.user_id = u.id
  ) AS roles,
  jsonb_build_object(
    'app_added_at', (
      SELECT t.confirmed_at FROM totp_secrets t WHERE t.user_id = u.id
    ),
    'recovery_codes_left', (
      SELECT count(*) FROM recovery_codes r WHERE r.user_id = u.id AND r.used_at IS NULL
    )
  ) AS second_factor,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'id', p.id, 'name', p.name, 'created_at', p.created_at, 'last_used_at', p.last_used_at
    ) ORDER BY p.id), '[]')
    FROM passkeys p WHERE p.user_id = u.id
  ) AS passkeys,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'provider', o.provider, 'provider_id', o.provider_id, 'email', o.email,
      'linked_at', o.linked_at
    ) ORDER BY o.provider), '[]')
    FROM oauth_accounts o WHERE o.user_id = u.id
  ) AS linked_accounts,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'id', t.id, 'name', t.name, 'scopes', t.scopes, 'created_at', t.created_at,
      'expires_at', t.expires_at, 'last_used_at', t.last_used_at
    ) ORDER BY t.id), '[]')
    FROM personal_tokens t WHERE t.user_id = u.id
  ) AS personal_tokens,
  (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'client_id', c.client_id, 'scopes', c.scopes, 'given_at', c.given_at
    ) ORDER BY c.client_id), '[]')
    FROM consents c WHERE c.user_id = u.id
  ) AS consents
FROM users u WHERE u.id = $1 AND NOT u.service
"""


async def select_belongings(db: Executor, user_id: UUID) -> Belongings | None:
    """What we hold of a user, without what would let anybody in: each column a JSON value."""
    record = await db.fetchrow(SELECT_BELONGINGS, user_id)
    return None if record is None else Belongings(*record)


class KeptSession(NamedTuple):
    id: UUID
    client_id: str | None
    scopes: list[str] | None
    device: str
    ip: IPv4Address | IPv6Address
    amr: list[str]
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None


SELECT_KEPT_SESSIONS = """
SELECT id, client_id, scopes, device, ip, amr, created_at, last_seen_at, expires_at, ended_at
FROM sessions
WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def select_kept_sessions(
    db: Executor, *, user_id: UUID, before: UUID | None, most: int
) -> list[KeptSession]:
    """A page of all sessions of a user that are still kept, open or not, newest first."""
    return [
        KeptSession(*record)
        for record in await db.fetch(SELECT_KEPT_SESSIONS, user_id, before, most)
    ]


class Leaving(NamedTuple):
    email: str
    language: str


LOCK_PERSON = """
SELECT email::text AS email, language FROM users WHERE id = $1 AND NOT service FOR UPDATE
"""


async def lock_person(db: Executor, user_id: UUID) -> Leaving | None:
    """The account of a person, as it goes; no session or token of it is made meanwhile."""
    record = await db.fetchrow(LOCK_PERSON, user_id)
    return None if record is None else Leaving(*record)


DELETE_USER = """
DELETE FROM users WHERE id = $1
"""


async def delete_user(db: Executor, user_id: UUID) -> None:
    """What is the user's goes with them: every table that names them says so."""
    await db.execute(DELETE_USER, user_id)
