"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_SESSION = """
WITH session AS (
  INSERT INTO sessions (user_id, expires_at, ip, device)
  VALUES ($1, $2, $3, $4)
  RETURNING id, expires_at
), token AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT $5::bytea, session.expires_at, session.id FROM session
)
SELECT id FROM session
"""


async def insert_session(
    db: Executor,
    *,
    user_id: UUID,
    expires_at: datetime,
    ip: IPv4Address | IPv6Address,
    device: str,
    hash: bytes,
) -> UUID:
    """A new session and the first refresh token of its family."""
    [record] = await db.fetch(INSERT_SESSION, user_id, expires_at, ip, device, hash)
    value: UUID = record[0]
    return value


class Rotated(NamedTuple):
    hash: bytes
    session_id: UUID
    since: datetime


UPDATE_REFRESH_TOKENS_USED = """
WITH used AS (
  UPDATE refresh_tokens t SET used_at = now()
  WHERE t.hash = ANY($1::bytea[]) AND t.expires_at = ANY($2::timestamptz[])
    AND t.used_at IS NULL AND t.expires_at > now()
    AND (
      SELECT s.ended_at IS NULL FROM sessions s
      WHERE s.id = t.session_id AND s.expires_at = t.expires_at
    )
  RETURNING t.hash, t.expires_at, t.session_id, (
    SELECT s.created_at FROM sessions s
    WHERE s.id = t.session_id AND s.expires_at = t.expires_at
  ) AS since
), successors AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT ($3::bytea[])[array_position($1::bytea[], used.hash)],
    used.expires_at, used.session_id
  FROM used
)
SELECT hash, session_id, since FROM used
"""


async def update_refresh_tokens_used(
    db: Executor,
    *,
    hashes: Sequence[bytes],
    expiries: Sequence[datetime],
    successors: Sequence[bytes],
) -> list[Rotated]:
    """Compare and swap, for many at once: a token that is live, in a session that is open, is used up,
    and its successor is made in the same statement. There is no join that could be planned as a scan
    of all tokens: each is looked up in the index of its own partition.
    """
    return [
        Rotated(*record)
        for record in await db.fetch(UPDATE_REFRESH_TOKENS_USED, hashes, expiries, successors)
    ]


SELECT_LIVE_REFRESH_TOKEN = """
SELECT session_id FROM refresh_tokens
WHERE hash = $1 AND expires_at = $2 AND used_at IS NULL
"""


async def select_live_refresh_token(
    db: Executor, *, hash: bytes, expires_at: datetime
) -> UUID | None:
    """The look-up alone, answered from the index of live tokens."""
    value: UUID | None = await db.fetchval(SELECT_LIVE_REFRESH_TOKEN, hash, expires_at)
    return value


class UsedToken(NamedTuple):
    session_id: UUID
    since: datetime
    used_for: timedelta
    session_open: bool


SELECT_USED_REFRESH_TOKEN = """
SELECT t.session_id, s.created_at AS since,
  (now() - t.used_at)::interval AS used_for,
  (s.ended_at IS NULL AND s.expires_at > now())::boolean AS session_open
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id AND s.expires_at = t.expires_at
WHERE t.hash = $1 AND t.expires_at = $2 AND t.used_at IS NOT NULL
"""


async def select_used_refresh_token(
    db: Executor, *, hash: bytes, expires_at: datetime
) -> UsedToken | None:
    record = await db.fetchrow(SELECT_USED_REFRESH_TOKEN, hash, expires_at)
    return None if record is None else UsedToken(*record)


class EndedSession(NamedTuple):
    id: UUID
    user_id: UUID


UPDATE_SESSIONS_ENDED = """
UPDATE sessions SET ended_at = now()
WHERE id = ANY($1::uuid[]) AND ended_at IS NULL AND expires_at > now()
RETURNING id, user_id
"""


async def update_sessions_ended(db: Executor, sessions: Sequence[UUID]) -> list[EndedSession]:
    """End sessions by id, in one round trip however many; only those that were open are answered."""
    return [EndedSession(*record) for record in await db.fetch(UPDATE_SESSIONS_ENDED, sessions)]


UPDATE_USER_SESSIONS_ENDED = """
UPDATE sessions SET ended_at = now()
WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
RETURNING id, user_id
"""


async def update_user_sessions_ended(db: Executor, user_id: UUID) -> list[EndedSession]:
    return [EndedSession(*record) for record in await db.fetch(UPDATE_USER_SESSIONS_ENDED, user_id)]


class Session(NamedTuple):
    id: UUID
    device: str
    ip: IPv4Address | IPv6Address
    created_at: datetime
    last_seen_at: datetime


SELECT_OPEN_SESSIONS = """
SELECT id, device, ip, created_at, last_seen_at FROM sessions
WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
  AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
"""


async def select_open_sessions(
    db: Executor, *, user_id: UUID, before: UUID | None, most: int
) -> list[Session]:
    """A page of one user's open sessions, newest first."""
    return [
        Session(*record) for record in await db.fetch(SELECT_OPEN_SESSIONS, user_id, before, most)
    ]


SELECT_OPEN_SESSION_OWNER = """
SELECT user_id FROM sessions
WHERE id = $1 AND ended_at IS NULL AND expires_at > now()
"""


async def select_open_session_owner(db: Executor, session_id: UUID) -> UUID | None:
    value: UUID | None = await db.fetchval(SELECT_OPEN_SESSION_OWNER, session_id)
    return value
