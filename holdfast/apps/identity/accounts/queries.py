"""Generated from queries.sql by `make sql`; edit that file instead."""

from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_USER = """
INSERT INTO users (email, name, email_verified_at)
VALUES ($1, $2, CASE WHEN $3::boolean THEN now() END)
ON CONFLICT (email) DO NOTHING
RETURNING id
"""


async def insert_user(
    db: Executor, *, email: str | None, name: str | None, verified: bool
) -> UUID | None:
    """No row when the address is taken."""
    value: UUID | None = await db.fetchval(INSERT_USER, email, name, verified)
    return value


INSERT_CREDENTIALS = """
INSERT INTO credentials (user_id, password_hash) VALUES ($1, $2)
"""


async def insert_credentials(db: Executor, *, user_id: UUID, password_hash: str) -> None:
    await db.execute(INSERT_CREDENTIALS, user_id, password_hash)


INSERT_ACCOUNT = """
WITH person AS (
  INSERT INTO users (email, name, language) VALUES ($1, $3, $2)
  ON CONFLICT (email) DO NOTHING
  RETURNING id
), password AS (
  INSERT INTO credentials (user_id, password_hash) SELECT id, $4::text FROM person
), membership AS (
  INSERT INTO user_roles (user_id, role) SELECT id, $5::text FROM person
), event AS (
  INSERT INTO outbox (type, payload)
  SELECT 'user.registered', jsonb_build_object('user_id', id, 'email', $1::text) FROM person
)
INSERT INTO mails (template, recipient, language, facts)
SELECT
  CASE WHEN EXISTS (SELECT FROM person) THEN 'verify_email' ELSE 'register_repeated' END,
  $1, $2, '{}'
"""


async def insert_account(
    db: Executor, *, email: str, language: str, name: str | None, password_hash: str, role: str
) -> None:
    """An account, and a mail to verify its address; or, if the address is taken, a mail to its owner."""
    await db.execute(INSERT_ACCOUNT, email, language, name, password_hash, role)


class Person(NamedTuple):
    email: str
    language: str
    verified: bool


LOCK_PERSON = """
SELECT email::text AS email, language, (email_verified_at IS NOT NULL)::boolean AS verified
FROM users WHERE id = $1 AND NOT service AND banned_at IS NULL
FOR UPDATE
"""


async def lock_person(db: Executor, user_id: UUID) -> Person | None:
    """The account as it is now, until the transaction ends; no account that is banned."""
    record = await db.fetchrow(LOCK_PERSON, user_id)
    return None if record is None else Person(*record)


UPDATE_USER = """
UPDATE users SET
  name = CASE WHEN $1::boolean THEN $2 ELSE name END,
  language = coalesce($3::text, language)
WHERE id = $4
"""


async def update_user(
    db: Executor, *, renamed: bool, name: str | None, language: str | None, user_id: UUID
) -> None:
    """The name, if it is to be changed, and the language, if there is a new one."""
    await db.execute(UPDATE_USER, renamed, name, language, user_id)


SELECT_PASSWORD_HASH = """
SELECT password_hash FROM credentials WHERE user_id = $1
"""


async def select_password_hash(db: Executor, user_id: UUID) -> str | None:
    value: str | None = await db.fetchval(SELECT_PASSWORD_HASH, user_id)
    return value


UPDATE_PASSWORD_HASH = """
UPDATE credentials SET password_hash = $1, changed_at = now()
WHERE user_id = $2 AND password_hash = $3
"""


async def update_password_hash(
    db: Executor, *, password_hash: str, user_id: UUID, checked_hash: str
) -> int:
    """Only if it is still the one that was checked."""
    status = await db.execute(UPDATE_PASSWORD_HASH, password_hash, user_id, checked_hash)
    return int(status.rpartition(" ")[2])


SELECT_WAY_IN = """
SELECT (
  EXISTS (SELECT FROM credentials WHERE credentials.user_id = $1)
  OR EXISTS (SELECT FROM passkeys WHERE passkeys.user_id = $1)
  OR EXISTS (SELECT FROM oauth_accounts WHERE oauth_accounts.user_id = $1)
)::boolean AS there_is
"""


async def select_way_in(db: Executor, user_id: UUID) -> bool | None:
    """Whether there is a password, a passkey or a link by which the user can sign in."""
    [record] = await db.fetch(SELECT_WAY_IN, user_id)
    value: bool | None = record[0]
    return value
