"""Generated from queries.sql by `make sql`; edit that file instead."""
from typing import Any, NamedTuple
from uuid import UUID
from datetime import datetime, timedelta
from holdfast.core.db import Executor

UPSERT_LOGIN_CHAIN = """
INSERT INTO login_chains AS chain (period, length, origin, head)
SELECT date_bin('28 days', now(), '2000-01-03 00:00+00'), 0, last.head, last.head
FROM (
  SELECT coalesce(
    (SELECT c.head FROM login_chains c ORDER BY c.period DESC LIMIT 1), ''::bytea
  ) AS head
) last
ON CONFLICT (period) DO UPDATE SET length = chain.length
RETURNING period, length, head, clock_timestamp()::timestamptz AS at;"""

class Chain(NamedTuple):
    period: datetime
    length: int
    head: bytes
    at: datetime


async def upsert_login_chain(db: Executor) -> Chain:
    row = await db.fetchrow(UPSERT_LOGIN_CHAIN)
    return Chain(*row) if row else None

INSERT_LOGINS = """
INSERT INTO login_history
  (period, position, at, account, user_id, ip, device, outcome, digest)
SELECT $1, unnest($2::bigint[]), $3, unnest($4::bytea[]),
  unnest($5::uuid[]), unnest($6::inet[]), unnest($7::text[]),
  unnest($8::text[]), unnest($9::bytea[]);"""

async def insert_logins(db: Executor, *, period: Any, positions: Any, at: Any, accounts: Any, user_ids: Any, ips: Any, devices: Any, outcomes: Any, digests: Any) -> None:
    await db.execute(INSERT_LOGINS, period, positions, at, accounts, user_ids, ips, devices, outcomes, digests)

UPDATE_LOGIN_CHAIN = """
UPDATE login_chains SET length = $1, head = $2 WHERE period = $3;"""

async def update_login_chain(db: Executor, *, length: Any, head: Any, period: Any) -> None:
    await db.execute(UPDATE_LOGIN_CHAIN, length, head, period)

SELECT_LOGINS = """
SELECT period, position, at, account, user_id, ip, device, outcome, digest
FROM login_history
WHERE user_id = $1
  AND (period, position) < ($2::timestamptz, $3::bigint)
ORDER BY period DESC, position DESC
LIMIT $4;"""

class Login(NamedTuple):
    period: datetime
    position: int
    at: datetime
    account: bytes
    user_id: UUID
    ip: Any
    device: str
    outcome: str
    digest: bytes


async def select_logins(db: Executor, *, user_id: Any, before_period: Any, before_position: Any, most: Any) -> list[Login]:
    return [Login(*r) for r in await db.fetch(SELECT_LOGINS, user_id, before_period, before_position, most)]

SELECT_LOGIN_CHAINS = """
SELECT period, length, origin, head,
  (to_regclass(
    'login_history' || to_char(period AT TIME ZONE 'UTC', '_YYYYMMDD')
  ) IS NOT NULL)::boolean AS kept
FROM login_chains ORDER BY period;"""

class WholeChain(NamedTuple):
    period: datetime
    length: int
    origin: bytes
    head: bytes
    kept: bool


async def select_login_chains(db: Executor) -> list[WholeChain]:
    return [WholeChain(*r) for r in await db.fetch(SELECT_LOGIN_CHAINS)]

SELECT_CHAINED_LOGINS = """
SELECT period, position, at, account, user_id, ip, device, outcome, digest
FROM login_history
WHERE period = $1 AND position > $2
ORDER BY position
LIMIT $3;"""

async def select_chained_logins(db: Executor, *, period: Any, after: Any, most: Any) -> list[Login]:
    return [Login(*r) for r in await db.fetch(SELECT_CHAINED_LOGINS, period, after, most)]
