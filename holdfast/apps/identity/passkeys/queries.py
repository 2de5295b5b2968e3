"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Owner(NamedTuple):
    email: str
    language: str


LOCK_OWNER = """
SELECT email::text AS email, language FROM users
WHERE id = $1 AND NOT service FOR NO KEY UPDATE
"""


async def lock_owner(db: Executor, user_id: UUID) -> Owner | None:
    """Whoever adds or removes a way to sign in does it alone."""
    record = await db.fetchrow(LOCK_OWNER, user_id)
    return None if record is None else Owner(*record)


SELECT_PASSKEYS_NUMBER = """
SELECT count(*) AS number FROM passkeys WHERE user_id = $1
"""


async def select_passkeys_number(db: Executor, user_id: UUID) -> int:
    [record] = await db.fetch(SELECT_PASSKEYS_NUMBER, user_id)
    value: int = record[0]
    return value


class Passkey(NamedTuple):
    id: UUID
    name: str
    backed_up: bool
    created_at: datetime
    last_used_at: datetime | None


INSERT_PASSKEY = """
INSERT INTO passkeys (credential_id, user_id, name, public_key, sign_count, transports, backed_up)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (credential_id) DO NOTHING
RETURNING id, name, backed_up, created_at, last_used_at
"""


async def insert_passkey(
    db: Executor,
    *,
    credential_id: bytes,
    user_id: UUID,
    name: str,
    public_key: bytes,
    sign_count: int,
    transports: Sequence[str],
    backed_up: bool,
) -> Passkey | None:
    """No row when the credential is known already, whoever's it is."""
    record = await db.fetchrow(
        INSERT_PASSKEY, credential_id, user_id, name, public_key, sign_count, transports, backed_up
    )
    return None if record is None else Passkey(*record)


SELECT_PASSKEYS = """
SELECT id, name, backed_up, created_at, last_used_at FROM passkeys
WHERE user_id = $1 ORDER BY id
"""


async def select_passkeys(db: Executor, user_id: UUID) -> list[Passkey]:
    return [Passkey(*record) for record in await db.fetch(SELECT_PASSKEYS, user_id)]


class Credential(NamedTuple):
    credential_id: bytes
    transports: list[str]


SELECT_CREDENTIALS = """
SELECT credential_id, transports FROM passkeys WHERE user_id = $1 ORDER BY id
"""


async def select_credentials(db: Executor, user_id: UUID) -> list[Credential]:
    """What a browser has to know of a user's passkeys."""
    return [Credential(*record) for record in await db.fetch(SELECT_CREDENTIALS, user_id)]


class KnownPasskey(NamedTuple):
    id: UUID
    user_id: UUID
    public_key: bytes


SELECT_PASSKEY_BY_CREDENTIAL = """
SELECT id, user_id, public_key FROM passkeys WHERE credential_id = $1
"""


async def select_passkey_by_credential(db: Executor, credential_id: bytes) -> KnownPasskey | None:
    record = await db.fetchrow(SELECT_PASSKEY_BY_CREDENTIAL, credential_id)
    return None if record is None else KnownPasskey(*record)


UPDATE_PASSKEY_USED = """
UPDATE passkeys SET sign_count = $1, backed_up = $2, last_used_at = now()
WHERE id = $3
  AND (sign_count < $1 OR (sign_count = 0 AND $1 = 0))
"""


async def update_passkey_used(
    db: Executor, *, sign_count: int, backed_up: bool, passkey_id: UUID
) -> int:
    """A counter must have gone on, unless the authenticator never counts: otherwise somebody has a copy."""
    status = await db.execute(UPDATE_PASSKEY_USED, sign_count, backed_up, passkey_id)
    return int(status.rpartition(" ")[2])


UPDATE_PASSKEY_NAME = """
UPDATE passkeys SET name = $1 WHERE id = $2 AND user_id = $3
RETURNING id, name, backed_up, created_at, last_used_at
"""


async def update_passkey_name(
    db: Executor, *, name: str, passkey_id: UUID, user_id: UUID
) -> Passkey | None:
    record = await db.fetchrow(UPDATE_PASSKEY_NAME, name, passkey_id, user_id)
    return None if record is None else Passkey(*record)


DELETE_PASSKEY = """
DELETE FROM passkeys WHERE id = $1 AND user_id = $2 RETURNING name
"""


async def delete_passkey(db: Executor, *, passkey_id: UUID, user_id: UUID) -> str | None:
    """Answers its name."""
    value: str | None = await db.fetchval(DELETE_PASSKEY, passkey_id, user_id)
    return value
