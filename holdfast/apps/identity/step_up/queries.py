"""Generated from queries.sql by `make sql`; edit that file instead."""

from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Proofs(NamedTuple):
    email: str
    password_hash: str | None
    second_factor: bool


SELECT_PROOFS = """
SELECT u.email::text AS email, c.password_hash,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor
FROM users u LEFT JOIN credentials c ON c.user_id = u.id
WHERE u.id = $1 AND NOT u.service
"""


async def select_proofs(db: Executor, user_id: UUID) -> Proofs | None:
    """By what this person can prove who they are, besides a passkey."""
    record = await db.fetchrow(SELECT_PROOFS, user_id)
    return None if record is None else Proofs(*record)
