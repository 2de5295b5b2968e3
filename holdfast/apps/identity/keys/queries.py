"""Generated from queries.sql by `make sql`; edit that file instead."""

from datetime import datetime, timedelta
from typing import NamedTuple

from holdfast.core.db import Executor


class SigningKey(NamedTuple):
    kid: str
    alg: str
    public_jwk: str
    private_sealed: bytes
    signs_from: datetime
    verifies_until: datetime | None


SELECT_SIGNING_KEYS = """
SELECT kid, alg, public_jwk, private_sealed, signs_from, verifies_until FROM signing_keys
WHERE verifies_until IS NULL OR verifies_until > now()
ORDER BY signs_from
"""


async def select_signing_keys(db: Executor) -> list[SigningKey]:
    """Every key that signs or may still verify, oldest first."""
    return [SigningKey(*record) for record in await db.fetch(SELECT_SIGNING_KEYS)]


LOCK_SIGNING_KEYS = """
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.signing_keys'))
"""


async def lock_signing_keys(db: Executor) -> None:
    """One rotation at a time."""
    await db.execute(LOCK_SIGNING_KEYS)


INSERT_SIGNING_KEY = """
INSERT INTO signing_keys (kid, alg, public_jwk, private_sealed, signs_from)
VALUES ($1, $2, $3, $4, now() + $5::interval)
"""


async def insert_signing_key(
    db: Executor, *, kid: str, alg: str, public_jwk: str, private_sealed: bytes, lead: timedelta
) -> None:
    await db.execute(INSERT_SIGNING_KEY, kid, alg, public_jwk, private_sealed, lead)


DELETE_WAITING_SIGNING_KEYS = """
DELETE FROM signing_keys WHERE signs_from > now()
"""


async def delete_waiting_signing_keys(db: Executor) -> None:
    """A key that was to sign later has signed nothing yet: the newer one takes its place."""
    await db.execute(DELETE_WAITING_SIGNING_KEYS)


UPDATE_SIGNING_KEYS_SUCCEEDED = """
UPDATE signing_keys SET verifies_until = now() + $1::interval + $2::interval
WHERE kid <> $3 AND verifies_until IS NULL
"""


async def update_signing_keys_succeeded(
    db: Executor, *, lead: timedelta, token_life: timedelta, kid: str
) -> None:
    """The keys before a new one verify until the last token that they may sign has expired."""
    await db.execute(UPDATE_SIGNING_KEYS_SUCCEEDED, lead, token_life, kid)


UPDATE_SIGNING_KEY_WITHDRAWN = """
UPDATE signing_keys SET verifies_until = now()
WHERE kid = $1 AND (verifies_until IS NULL OR verifies_until > now())
"""


async def update_signing_key_withdrawn(db: Executor, kid: str) -> int:
    """Nothing that this key signed is valid any more."""
    status = await db.execute(UPDATE_SIGNING_KEY_WITHDRAWN, kid)
    return int(status.rpartition(" ")[2])
