"""Generated from queries.sql by `make sql`; edit that file instead."""

from uuid import UUID

from holdfast.core.db import Executor

UPSERT_PASSWORD = """
WITH verified AS (
  UPDATE users SET email_verified_at = coalesce(email_verified_at, now()) WHERE id = $1
)
INSERT INTO credentials (user_id, password_hash) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, changed_at = now()
"""


async def upsert_password(db: Executor, *, user_id: UUID, password_hash: str) -> None:
    """Also the first one, of an account that had none. The mail arrived, so the address is verified."""
    await db.execute(UPSERT_PASSWORD, user_id, password_hash)


DELETE_WAYS_IN = """
WITH own_passkeys AS (DELETE FROM passkeys p WHERE p.user_id = $1),
  own_totp AS (DELETE FROM totp_secrets t WHERE t.user_id = $1),
  own_codes AS (DELETE FROM recovery_codes r WHERE r.user_id = $1),
  own_accounts AS (DELETE FROM oauth_accounts o WHERE o.user_id = $1),
  own_consents AS (DELETE FROM consents c WHERE c.user_id = $1)
UPDATE users u SET name = NULL WHERE u.id = $1
"""


async def delete_ways_in(db: Executor, user_id: UUID) -> None:
    """Every way to sign in besides the password, what was agreed to, and the name."""
    await db.execute(DELETE_WAYS_IN, user_id)
