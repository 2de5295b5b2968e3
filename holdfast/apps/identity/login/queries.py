"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Credentials(NamedTuple):
    email: str
    user_id: UUID
    password_hash: str


SELECT_CREDENTIALS = """
SELECT u.email, u.id AS user_id, c.password_hash
FROM users u JOIN credentials c ON c.user_id = u.id
WHERE u.email = ANY($1::text[])
"""


async def select_credentials(db: Executor, emails: Sequence[str]) -> list[Credentials]:
    return [Credentials(*record) for record in await db.fetch(SELECT_CREDENTIALS, emails)]


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
