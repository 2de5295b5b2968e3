"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class KeptClient(NamedTuple):
    scopes: list[str]
    trusted: bool
    service_id: UUID | None


LOCK_CLIENT_KEPT = """
SELECT scopes, trusted, service_id FROM clients WHERE id = $1 FOR SHARE
"""


async def lock_client_kept(db: Executor, client_id: str) -> KeptClient | None:
    """What the client may ask for, unchanged until commit; many may read it so at once."""
    record = await db.fetchrow(LOCK_CLIENT_KEPT, client_id)
    return None if record is None else KeptClient(*record)


LOCK_USER_KEPT = """
SELECT id FROM users WHERE id = $1 AND banned_at IS NULL FOR SHARE
"""


async def lock_user_kept(db: Executor, user_id: UUID) -> UUID | None:
    """The account, neither banned nor signed out everywhere until commit."""
    value: UUID | None = await db.fetchval(LOCK_USER_KEPT, user_id)
    return value


class SignIn(NamedTuple):
    authenticated_at: datetime
    amr: list[str]
    ip: IPv4Address | IPv6Address
    device: str
    agreed: list[str]


SELECT_SIGN_IN = """
SELECT s.authenticated_at, s.amr, s.ip, s.device,
  coalesce((
    SELECT c.scopes FROM consents c WHERE c.user_id = s.user_id AND c.client_id = $1
  ), '{}')::text[] AS agreed
FROM sessions s
WHERE s.id = $2 AND s.user_id = $3 AND s.ended_at IS NULL AND s.expires_at > now()
"""


async def select_sign_in(
    db: Executor, *, client_id: str, session_id: UUID, user_id: UUID
) -> SignIn | None:
    """The sign-in in a browser by which a code was given, while it is open, and what its user agrees to."""
    record = await db.fetchrow(SELECT_SIGN_IN, client_id, session_id, user_id)
    return None if record is None else SignIn(*record)


SELECT_USED_CODE = """
SELECT facts FROM tickets
WHERE hash = $1 AND expires_at = $2 AND used_at IS NOT NULL
"""


async def select_used_code(db: Executor, *, hash: bytes, expires_at: datetime) -> str | None:
    """What a code stood for, long after it has expired."""
    value: str | None = await db.fetchval(SELECT_USED_CODE, hash, expires_at)
    return value
