"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class RefreshToken(NamedTuple):
    session_id: UUID
    expires_at: datetime
    client_id: str | None
    scopes: list[str] | None
    live: bool


SELECT_REFRESH_TOKEN = """
SELECT t.session_id, t.expires_at, s.client_id, s.scopes, (t.used_at IS NULL)::boolean AS live
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id AND s.expires_at = t.expires_at
WHERE t.hash = $1 AND t.expires_at = $2
  AND s.ended_at IS NULL AND s.expires_at > now()
"""


async def select_refresh_token(
    db: Executor, *, hash: bytes, expires_at: datetime
) -> RefreshToken | None:
    """A refresh token that is live or used, in a session that is open."""
    record = await db.fetchrow(SELECT_REFRESH_TOKEN, hash, expires_at)
    return None if record is None else RefreshToken(*record)
