"""Generated from queries.sql by `make sql`; edit that file instead."""
from typing import Any, NamedTuple
from uuid import UUID
from datetime import datetime, timedelta
from holdfast.core.db import Executor

SELECT_SIGNING_KEYS = """
SELECT kid, alg, public_jwk, private_sealed, signs_from, verifies_until FROM signing_keys
WHERE verifies_until IS NULL OR verifies_until > now()
ORDER BY signs_from;"""

class SigningKey(NamedTuple):
    kid: str
    alg: str
    public_jwk: str
    private_sealed: bytes
    signs_from: datetime
    verifies_until: datetime


async def select_signing_keys(db: Executor) -> list[SigningKey]:
    return [SigningKey(*r) for r in await db.fetch(SELECT_SIGNING_KEYS)]

LOCK_SIGNING_KEYS = """
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.signing_keys'));"""

async def lock_signing_keys(db: Executor) -> None:
    await db.execute(LOCK_SIGNING_KEYS)

INSERT_SIGNING_KEY = """
INSERT INTO signing_keys (kid, alg, public_jwk, private_sealed, signs_from)
VALUES ($1, $2, $3, $4, now() + $5::interval);"""

async def insert_signing_key(db: Executor, *, kid: Any, alg: Any, public_jwk: Any, private_sealed: Any, lead: Any) -> None:
    await db.execute(INSERT_SIGNING_KEY, kid, alg, public_jwk, private_sealed, lead)

DELETE_WAITING_SIGNING_KEYS = """
DELETE FROM signing_keys WHERE signs_from > now();"""

async def delete_waiting_signing_keys(db: Executor) -> None:
    await db.execute(DELETE_WAITING_SIGNING_KEYS)

UPDATE_SIGNING_KEYS_SUCCEEDED = """
UPDATE signing_keys SET verifies_until = now() + $1::interval + $2::interval
WHERE kid <> $3 AND verifies_until IS NULL;"""

async def update_signing_keys_succeeded(db: Executor, *, lead: Any, token_life: Any, kid: Any) -> None:
    await db.execute(UPDATE_SIGNING_KEYS_SUCCEEDED, lead, token_life, kid)

UPDATE_SIGNING_KEY_WITHDRAWN = """
UPDATE signing_keys SET verifies_until = now()
WHERE kid = $1 AND (verifies_until IS NULL OR verifies_until > now());"""

async def update_signing_key_withdrawn(db: Executor, kid: Any) -> int:
    return int((await db.execute(UPDATE_SIGNING_KEY_WITHDRAWN, kid)).split()[-1])
