"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class SessionGrants(NamedTuple):
    session_id: UUID
    user_id: UUID
    email: str
    name: str | None
    created_at: datetime
    roles: list[str]
    permissions: list[str]


SELECT_GRANTS = """
SELECT
  s.id AS session_id,
  u.id AS user_id,
  u.email,
  u.name,
  u.created_at,
  array(
    SELECT ur.role FROM user_roles ur WHERE ur.user_id = u.id ORDER BY ur.role
  )::text[] AS roles,
  array(
    SELECT DISTINCT rp.permission
    FROM user_roles ur JOIN role_permissions rp ON rp.role = ur.role
    WHERE ur.user_id = u.id ORDER BY rp.permission
  )::text[] AS permissions
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.id = ANY($1::uuid[]) AND s.ended_at IS NULL AND s.expires_at > now()
"""


async def select_grants(db: Executor, sessions: Sequence[UUID]) -> list[SessionGrants]:
    """What each session may do: whose it is, and what their roles permit. Ended sessions are absent."""
    return [SessionGrants(*record) for record in await db.fetch(SELECT_GRANTS, sessions)]


UPDATE_SESSIONS_SEEN = """
UPDATE sessions s SET last_seen_at = greatest(s.last_seen_at, seen.at)
FROM (SELECT unnest($1::uuid[]) AS session_id, unnest($2::timestamptz[]) AS at) seen
WHERE s.id = seen.session_id
"""


async def update_sessions_seen(
    db: Executor, *, sessions: Sequence[UUID], times: Sequence[datetime]
) -> None:
    """When sessions were last used; told now and then, many at once."""
    await db.execute(UPDATE_SESSIONS_SEEN, sessions, times)
