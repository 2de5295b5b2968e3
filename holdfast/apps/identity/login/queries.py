"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Credentials(NamedTuple):
    email: str
    user_id: UUID
    password_hash: str
    password_changed_at: datetime
    banned: bool
    ban_reason: str | None
    second_factor: bool


SELECT_CREDENTIALS = """
SELECT u.email::text AS email, u.id AS user_id, c.password_hash,
  c.changed_at AS password_changed_at,
  (u.banned_at IS NOT NULL)::boolean AS banned, u.ban_reason,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor
FROM users u JOIN credentials c ON c.user_id = u.id
WHERE u.email = ANY($1::text[])
"""


async def select_credentials(db: Executor, emails: Sequence[str]) -> list[Credentials]:
    return [Credentials(*record) for record in await db.fetch(SELECT_CREDENTIALS, emails)]


UPDATE_PASSWORD_REHASHED = """
UPDATE credentials SET password_hash = $1
WHERE user_id = $2 AND password_hash = $3
"""


async def update_password_rehashed(
    db: Executor, *, password_hash: str, user_id: UUID, checked_hash: str
) -> None:
    """The same password, hashed as new ones are: nothing that rests on it has changed."""
    await db.execute(UPDATE_PASSWORD_REHASHED, password_hash, user_id, checked_hash)


class Person(NamedTuple):
    email: str
    user_id: UUID
    password_changed_at: datetime | None
    banned: bool
    ban_reason: str | None
    second_factor: bool


SELECT_PERSON = """
SELECT u.email::text AS email, u.id AS user_id, c.changed_at AS password_changed_at,
  (u.banned_at IS NOT NULL)::boolean AS banned, u.ban_reason,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor
FROM users u LEFT JOIN credentials c ON c.user_id = u.id
WHERE u.id = $1 AND NOT u.service
"""


async def select_person(db: Executor, user_id: UUID) -> Person | None:
    """Whoever has proved in another way to be this user."""
    record = await db.fetchrow(SELECT_PERSON, user_id)
    return None if record is None else Person(*record)


UPSERT_LOGIN_LANE = """
INSERT INTO login_lanes AS lane (account, device, failures, open_at)
VALUES ($1, $2, 1, now())
ON CONFLICT (account, device) DO UPDATE SET
  failures = lane.failures + 1,
  open_at = clock_timestamp() + CASE
    WHEN lane.failures < 4 THEN interval '0'
    ELSE least(2 ^ (lane.failures - 4), 900) * interval '1 second'
  END
WHERE lane.open_at <= clock_timestamp()
RETURNING failures
"""


async def upsert_login_lane(db: Executor, *, account: bytes, device: UUID) -> int | None:
    """Take one attempt before the password is checked, as if it had failed. No row: not open yet.
    After the fifth failure each next attempt waits twice as long, up to a quarter of an hour.
    """
    value: int | None = await db.fetchval(UPSERT_LOGIN_LANE, account, device)
    return value


SELECT_LOGIN_LANE_WAIT_S = """
SELECT coalesce(max(extract(epoch FROM open_at - clock_timestamp())), 0)::float8 AS wait_s
FROM login_lanes WHERE account = $1 AND device = $2
"""


async def select_login_lane_wait_s(db: Executor, *, account: bytes, device: UUID) -> float:
    [record] = await db.fetch(SELECT_LOGIN_LANE_WAIT_S, account, device)
    value: float = record[0]
    return value


DELETE_LOGIN_LANE = """
DELETE FROM login_lanes WHERE account = $1 AND device = $2
"""


async def delete_login_lane(db: Executor, *, account: bytes, device: UUID) -> None:
    """The password was right: the failures in a row are over."""
    await db.execute(DELETE_LOGIN_LANE, account, device)


DELETE_LOGIN_LANES = """
DELETE FROM login_lanes WHERE account = ANY($1::bytea[])
"""


async def delete_login_lanes(db: Executor, accounts: Sequence[bytes]) -> None:
    """All lanes, known devices' as well: the account begins anew, or is gone."""
    await db.execute(DELETE_LOGIN_LANES, accounts)


UPDATE_LOGIN_LANE_UNTAKEN = """
UPDATE login_lanes SET failures = failures - 1, open_at = now()
WHERE account = $1 AND device = $2
"""


async def update_login_lane_untaken(db: Executor, *, account: bytes, device: UUID) -> None:
    """The attempt was not made after all."""
    await db.execute(UPDATE_LOGIN_LANE_UNTAKEN, account, device)


DELETE_QUIET_LOGIN_LANES = """
DELETE FROM login_lanes WHERE open_at < now() - interval '1 day'
"""


async def delete_quiet_login_lanes(db: Executor) -> int:
    status = await db.execute(DELETE_QUIET_LOGIN_LANES)
    return int(status.rpartition(" ")[2])
