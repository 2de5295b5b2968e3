"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_SESSION = """
WITH owner AS (
  SELECT u.id, u.email, u.language, u.email_verified_at FROM users u
  WHERE u.id = $1 AND u.banned_at IS NULL FOR KEY SHARE
), password AS (
  SELECT c.user_id FROM owner JOIN credentials c ON c.user_id = owner.id
  WHERE c.changed_at = $2::timestamptz FOR SHARE OF c
), session AS (
  INSERT INTO sessions (user_id, expires_at, ip, device, amr, authenticated_at)
  SELECT owner.id, $3::timestamptz, $4::inet, $5::text, $6::text[],
    $7::timestamptz
  FROM owner
  WHERE $2::timestamptz IS NULL OR EXISTS (SELECT FROM password)
  RETURNING id, expires_at, ip, device
), token AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT $8::bytea, session.expires_at, session.id FROM session
), notice AS (
  INSERT INTO mails (template, recipient, language, facts)
  SELECT 'new_device', owner.email, owner.language,
    jsonb_build_object('device', session.device, 'ip', host(session.ip))
  FROM owner CROSS JOIN session
  WHERE $9::boolean AND owner.email_verified_at IS NOT NULL
)
SELECT id FROM session
"""


async def insert_session(
    db: Executor,
    *,
    user_id: UUID,
    password_changed_at: datetime | None,
    expires_at: datetime,
    ip: IPv4Address | IPv6Address,
    device: str,
    amr: Sequence[str],
    authenticated_at: datetime,
    hash: bytes,
    new_device: bool,
) -> UUID | None:
    """A new session and the first refresh token of its family, and a mail if the device is a new one. No
    row when the account is banned or gone, or its password another than was checked: whoever does
    that has the lock that this one waits for.
    """
    value: UUID | None = await db.fetchval(
        INSERT_SESSION,
        user_id,
        password_changed_at,
        expires_at,
        ip,
        device,
        amr,
        authenticated_at,
        hash,
        new_device,
    )
    return value


INSERT_CLIENT_SESSION = """
WITH owner AS (
  SELECT u.id FROM users u WHERE u.id = $1 AND u.banned_at IS NULL FOR SHARE
), session AS (
  INSERT INTO sessions (
    id, user_id, expires_at, ip, device, amr, authenticated_at, client_id, scopes
  )
  SELECT coalesce($2::uuid, uuidv7()), owner.id, $3::timestamptz,
    $4::inet, $5::text, $6::text[], $7::timestamptz,
    $8::text, $9::text[]
  FROM owner
  RETURNING id, expires_at
), token AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT $10::bytea, session.expires_at, session.id FROM session
)
SELECT id FROM session
"""


async def insert_client_session(
    db: Executor,
    *,
    user_id: UUID,
    session_id: UUID | None,
    expires_at: datetime,
    ip: IPv4Address | IPv6Address,
    device: str,
    amr: Sequence[str],
    authenticated_at: datetime,
    client_id: str,
    scopes: Sequence[str],
    hash: bytes,
) -> UUID | None:
    """A session in which a client acts for a user, or for itself. No row when the account is banned or
    gone: whoever does that has the lock that this one waits for.
    """
    value: UUID | None = await db.fetchval(
        INSERT_CLIENT_SESSION,
        user_id,
        session_id,
        expires_at,
        ip,
        device,
        amr,
        authenticated_at,
        client_id,
        scopes,
        hash,
    )
    return value


class Rotated(NamedTuple):
    hash: bytes
    session_id: UUID
    authenticated_at: datetime
    amr: list[str]
    scopes: list[str] | None


UPDATE_REFRESH_TOKENS_USED = """
WITH used AS (
  UPDATE refresh_tokens t SET used_at = now()
  WHERE t.hash = ANY($1::bytea[]) AND t.expires_at = ANY($2::timestamptz[])
    AND t.used_at IS NULL AND t.expires_at > now()
    AND (
      SELECT s.ended_at IS NULL
        AND s.client_id IS NOT DISTINCT FROM
          ($3::text[])[array_position($1::bytea[], t.hash)]
      FROM sessions s
      WHERE s.id = t.session_id AND s.expires_at = t.expires_at
    )
  RETURNING t.hash, t.expires_at, t.session_id
), successors AS (
  INSERT INTO refresh_tokens (hash, expires_at, session_id)
  SELECT ($4::bytea[])[array_position($1::bytea[], used.hash)],
    used.expires_at, used.session_id
  FROM used
)
SELECT used.hash, used.session_id, session.authenticated_at, session.amr, session.scopes
FROM used CROSS JOIN LATERAL (
  SELECT s.authenticated_at, s.amr, s.scopes FROM sessions s
  WHERE s.id = used.session_id AND s.expires_at = used.expires_at
  LIMIT 1  -- of one: so that it is looked up for each, and not joined
) session
"""


async def update_refresh_tokens_used(
    db: Executor,
    *,
    hashes: Sequence[bytes],
    expiries: Sequence[datetime],
    clients: Sequence[str | None],
    successors: Sequence[bytes],
) -> list[Rotated]:
    """Compare and swap, for many at once: a token that is live, in a session that is open, is used up,
    and its successor is made in the same statement. There is no join that could be planned as a scan
    of all tokens: each is looked up in the index of its own partition. A token is its client's alone.
    """
    return [
        Rotated(*record)
        for record in await db.fetch(
            UPDATE_REFRESH_TOKENS_USED, hashes, expiries, clients, successors
        )
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
    authenticated_at: datetime
    amr: list[str]
    scopes: list[str] | None
    used_for: timedelta
    session_open: bool


SELECT_USED_REFRESH_TOKEN = """
SELECT t.session_id, s.authenticated_at, s.amr, s.scopes,
  (now() - t.used_at)::interval AS used_for,
  (s.ended_at IS NULL AND s.expires_at > now())::boolean AS session_open
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id AND s.expires_at = t.expires_at
WHERE t.hash = $1 AND t.expires_at = $2 AND t.used_at IS NOT NULL
  AND s.client_id IS NOT DISTINCT FROM $3::text
"""


async def select_used_refresh_token(
    db: Executor, *, hash: bytes, expires_at: datetime, client_id: str | None
) -> UsedToken | None:
    record = await db.fetchrow(SELECT_USED_REFRESH_TOKEN, hash, expires_at, client_id)
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
  AND id IS DISTINCT FROM $2::uuid
RETURNING id, user_id
"""


async def update_user_sessions_ended(
    db: Executor, *, user_id: UUID, but: UUID | None
) -> list[EndedSession]:
    """All of a user's, but for one if that is wanted."""
    return [
        EndedSession(*record) for record in await db.fetch(UPDATE_USER_SESSIONS_ENDED, user_id, but)
    ]


UPDATE_CLIENT_SESSIONS_ENDED = """
UPDATE sessions SET ended_at = now()
WHERE client_id = $1 AND ended_at IS NULL AND expires_at > now()
  AND ($2::uuid IS NULL OR user_id = $2)
  AND ($3::text[] IS NULL OR NOT scopes <@ $3)
RETURNING id, user_id
"""


async def update_client_sessions_ended(
    db: Executor, *, client_id: str | None, user_id: UUID | None, kept_scopes: Sequence[str] | None
) -> list[EndedSession]:
    """A client's sessions: all, or one user's, or those whose scopes go beyond what it keeps."""
    return [
        EndedSession(*record)
        for record in await db.fetch(UPDATE_CLIENT_SESSIONS_ENDED, client_id, user_id, kept_scopes)
    ]


LOCK_SESSION_OWNER = """
SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_session_owner(db: Executor, user_id: UUID) -> None:
    """No session begins for a client while its user's sessions end: it would be missed."""
    await db.execute(LOCK_SESSION_OWNER, user_id)


class Authenticated(NamedTuple):
    session_id: UUID
    authenticated_at: datetime
    amr: list[str]
    scopes: list[str] | None
    client_id: str | None


UPDATE_SESSION_AUTHENTICATED = """
UPDATE sessions SET authenticated_at = now(),
  amr = array(SELECT DISTINCT unnest(amr || $1::text[]) ORDER BY 1)
WHERE id = $2 AND ended_at IS NULL AND expires_at > now()
RETURNING id AS session_id, authenticated_at, amr, scopes, client_id
"""


async def update_session_authenticated(
    db: Executor, *, amr: Sequence[str], session_id: UUID
) -> Authenticated | None:
    """Its user has proved once more to be who they are."""
    record = await db.fetchrow(UPDATE_SESSION_AUTHENTICATED, amr, session_id)
    return None if record is None else Authenticated(*record)


class Session(NamedTuple):
    id: UUID
    client_id: str | None
    device: str
    ip: IPv4Address | IPv6Address
    created_at: datetime
    last_seen_at: datetime


SELECT_OPEN_SESSIONS = """
SELECT id, client_id, device, ip, created_at, last_seen_at FROM sessions
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


class OpenSession(NamedTuple):
    session_id: UUID
    user_id: UUID
    authenticated_at: datetime
    amr: list[str]
    scopes: list[str] | None


SELECT_OPEN_SESSION = """
SELECT id AS session_id, user_id, authenticated_at, amr, scopes FROM sessions
WHERE id = $1 AND ended_at IS NULL AND expires_at > now()
"""


async def select_open_session(db: Executor, session_id: UUID) -> OpenSession | None:
    """What the tokens of a session say of it, while it is open."""
    record = await db.fetchrow(SELECT_OPEN_SESSION, session_id)
    return None if record is None else OpenSession(*record)
