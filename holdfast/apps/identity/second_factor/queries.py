"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

UPSERT_TOTP_SECRET = """
INSERT INTO totp_secrets AS t (user_id, sealed) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET
  sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0
WHERE t.confirmed_at IS NULL
"""


async def upsert_totp_secret(db: Executor, *, user_id: UUID, sealed: bytes) -> int:
    """A new secret, in place of one that was never confirmed. No row: there is a confirmed one."""
    status = await db.execute(UPSERT_TOTP_SECRET, user_id, sealed)
    return int(status.rpartition(" ")[2])


class TotpSecret(NamedTuple):
    sealed: bytes
    confirmed: bool


SELECT_TOTP_SECRET = """
SELECT sealed, (confirmed_at IS NOT NULL)::boolean AS confirmed FROM totp_secrets
WHERE user_id = $1
"""


async def select_totp_secret(db: Executor, user_id: UUID) -> TotpSecret | None:
    record = await db.fetchrow(SELECT_TOTP_SECRET, user_id)
    return None if record is None else TotpSecret(*record)


class Owner(NamedTuple):
    email: str
    language: str


UPDATE_TOTP_CONFIRMED = """
UPDATE totp_secrets t SET confirmed_at = now(), last_step = $1
FROM users u
WHERE t.user_id = $2 AND t.sealed = $3 AND t.confirmed_at IS NULL AND u.id = t.user_id
RETURNING u.email, u.language
"""


async def update_totp_confirmed(
    db: Executor, *, step: int, user_id: UUID, sealed: bytes
) -> Owner | None:
    """Only the secret whose code was checked, and once."""
    record = await db.fetchrow(UPDATE_TOTP_CONFIRMED, step, user_id, sealed)
    return None if record is None else Owner(*record)


UPDATE_TOTP_STEP_USED = """
UPDATE totp_secrets SET last_step = $1
WHERE user_id = $2 AND sealed = $3 AND last_step < $1
"""


async def update_totp_step_used(db: Executor, *, step: int, user_id: UUID, sealed: bytes) -> int:
    """Use a step up, and all before it. Of many at the same moment one gets the row."""
    status = await db.execute(UPDATE_TOTP_STEP_USED, step, user_id, sealed)
    return int(status.rpartition(" ")[2])


LOCK_CONFIRMED_TOTP = """
SELECT user_id FROM totp_secrets
WHERE user_id = $1 AND confirmed_at IS NOT NULL
FOR UPDATE
"""


async def lock_confirmed_totp(db: Executor, user_id: UUID) -> UUID | None:
    """If there is one: nobody else changes the account's recovery codes until commit."""
    value: UUID | None = await db.fetchval(LOCK_CONFIRMED_TOTP, user_id)
    return value


class RemovedTotp(NamedTuple):
    email: str
    language: str
    confirmed: bool | None


DELETE_TOTP_SECRET = """
DELETE FROM totp_secrets t USING users u
WHERE t.user_id = $1 AND u.id = t.user_id
RETURNING u.email, u.language, (t.confirmed_at IS NOT NULL)::boolean AS confirmed
"""


async def delete_totp_secret(db: Executor, user_id: UUID) -> RemovedTotp | None:
    record = await db.fetchrow(DELETE_TOTP_SECRET, user_id)
    return None if record is None else RemovedTotp(*record)


INSERT_RECOVERY_CODES = """
INSERT INTO recovery_codes (user_id, hash) SELECT $1, unnest($2::bytea[])
"""


async def insert_recovery_codes(db: Executor, *, user_id: UUID, hashes: Sequence[bytes]) -> None:
    await db.execute(INSERT_RECOVERY_CODES, user_id, hashes)


class UsedRecoveryCode(NamedTuple):
    email: str
    language: str
    codes_left: int | None


UPDATE_RECOVERY_CODE_USED = """
UPDATE recovery_codes c SET used_at = now()
FROM users u
WHERE c.user_id = $1 AND c.hash = $2 AND c.used_at IS NULL AND u.id = c.user_id
RETURNING u.email, u.language, (
  SELECT count(*) FROM recovery_codes o
  WHERE o.user_id = c.user_id AND o.hash <> c.hash AND o.used_at IS NULL
)::integer AS codes_left
"""


async def update_recovery_code_used(
    db: Executor, *, user_id: UUID, hash: bytes
) -> UsedRecoveryCode | None:
    """Use a code up, once: of many at the same moment one gets the row. It says how many are left."""
    record = await db.fetchrow(UPDATE_RECOVERY_CODE_USED, user_id, hash)
    return None if record is None else UsedRecoveryCode(*record)


DELETE_RECOVERY_CODES = """
DELETE FROM recovery_codes WHERE user_id = $1
"""


async def delete_recovery_codes(db: Executor, user_id: UUID) -> None:
    await db.execute(DELETE_RECOVERY_CODES, user_id)


class Factors(NamedTuple):
    password: bool
    totp: bool
    recovery_codes_left: int | None
    passkeys: int | None


SELECT_FACTORS = """
SELECT
  EXISTS (SELECT FROM credentials c WHERE c.user_id = $1)::boolean AS password,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = $1 AND t.confirmed_at IS NOT NULL
  )::boolean AS totp,
  (
    SELECT count(*) FROM recovery_codes r WHERE r.user_id = $1 AND r.used_at IS NULL
  )::integer AS recovery_codes_left,
  (SELECT count(*) FROM passkeys p WHERE p.user_id = $1)::integer AS passkeys
"""


async def select_factors(db: Executor, user_id: UUID) -> Factors:
    """By what this user can prove to be who they are."""
    [record] = await db.fetch(SELECT_FACTORS, user_id)
    return Factors(*record)
