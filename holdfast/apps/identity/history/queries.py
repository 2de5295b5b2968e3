"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_LOGINS_AFTER = """
WITH chain AS (
  UPDATE login_chains SET length = length + cardinality($1::bigint[]), head = $9
  WHERE period = date_bin('28 days', now(), '2000-01-03 00:00+00') AND head = $10
  RETURNING period
)
INSERT INTO login_history
  (period, position, at, account, user_id, ip, device, outcome, digest)
SELECT chain.period, unnest($1::bigint[]), $2, unnest($3::bytea[]),
  unnest($4::uuid[]), unnest($5::inet[]), unnest($6::text[]),
  unnest($7::text[]), unnest($8::bytea[])
FROM chain
"""


async def insert_logins_after(
    db: Executor,
    *,
    positions: Sequence[int],
    at: datetime,
    accounts: Sequence[bytes],
    user_ids: Sequence[UUID | None],
    ips: Sequence[IPv4Address | IPv6Address],
    devices: Sequence[str],
    outcomes: Sequence[str],
    digests: Sequence[bytes],
    head: bytes,
    seen_head: bytes,
) -> int:
    """Append to the chain in one statement, if it still ends where this worker last saw it; else nothing."""
    status = await db.execute(
        INSERT_LOGINS_AFTER,
        positions,
        at,
        accounts,
        user_ids,
        ips,
        devices,
        outcomes,
        digests,
        head,
        seen_head,
    )
    return int(status.rpartition(" ")[2])


class Chain(NamedTuple):
    period: datetime
    length: int
    head: bytes
    at: datetime


UPSERT_LOGIN_CHAIN = """
INSERT INTO login_chains AS chain (period, length, origin, head)
SELECT date_bin('28 days', now(), '2000-01-03 00:00+00'), 0, last.head, last.head
FROM (
  SELECT coalesce(
    (SELECT c.head FROM login_chains c ORDER BY c.period DESC LIMIT 1), ''::bytea
  ) AS head
) last
ON CONFLICT (period) DO UPDATE SET length = chain.length
RETURNING period, length, head, clock_timestamp()::timestamptz AS at
"""


async def upsert_login_chain(db: Executor) -> Chain:
    """The chain of this period, locked until commit; a new one begins where the last one ended."""
    [record] = await db.fetch(UPSERT_LOGIN_CHAIN)
    return Chain(*record)


INSERT_LOGINS = """
INSERT INTO login_history
  (period, position, at, account, user_id, ip, device, outcome, digest)
SELECT $1, unnest($2::bigint[]), $3, unnest($4::bytea[]),
  unnest($5::uuid[]), unnest($6::inet[]), unnest($7::text[]),
  unnest($8::text[]), unnest($9::bytea[])
"""


async def insert_logins(
    db: Executor,
    *,
    period: datetime,
    positions: Sequence[int],
    at: datetime,
    accounts: Sequence[bytes],
    user_ids: Sequence[UUID | None],
    ips: Sequence[IPv4Address | IPv6Address],
    devices: Sequence[str],
    outcomes: Sequence[str],
    digests: Sequence[bytes],
) -> None:
    await db.execute(
        INSERT_LOGINS, period, positions, at, accounts, user_ids, ips, devices, outcomes, digests
    )


UPDATE_LOGIN_CHAIN = """
UPDATE login_chains SET length = $1, head = $2 WHERE period = $3
"""


async def update_login_chain(db: Executor, *, length: int, head: bytes, period: datetime) -> None:
    await db.execute(UPDATE_LOGIN_CHAIN, length, head, period)


class Login(NamedTuple):
    period: datetime
    position: int
    at: datetime
    account: bytes
    user_id: UUID | None
    ip: IPv4Address | IPv6Address
    device: str
    outcome: str
    digest: bytes


SELECT_LOGINS = """
SELECT period, position, at, account, user_id, ip, device, outcome, digest
FROM login_history
WHERE user_id = $1
  AND (period, position) < ($2::timestamptz, $3::bigint)
ORDER BY period DESC, position DESC
LIMIT $4
"""


async def select_logins(
    db: Executor, *, user_id: UUID | None, before_period: datetime, before_position: int, most: int
) -> list[Login]:
    """A page of one user's attempts, newest first."""
    return [
        Login(*record)
        for record in await db.fetch(SELECT_LOGINS, user_id, before_period, before_position, most)
    ]


class WholeChain(NamedTuple):
    period: datetime
    length: int
    origin: bytes
    head: bytes
    kept: bool


SELECT_LOGIN_CHAINS = """
SELECT period, length, origin, head,
  (to_regclass(
    'login_history' || to_char(period AT TIME ZONE 'UTC', '_YYYYMMDD')
  ) IS NOT NULL)::boolean AS kept
FROM login_chains ORDER BY period
"""


async def select_login_chains(db: Executor) -> list[WholeChain]:
    """Every chain there ever was; `kept` says whether its rows are still here."""
    return [WholeChain(*record) for record in await db.fetch(SELECT_LOGIN_CHAINS)]


SELECT_CHAINED_LOGINS = """
SELECT period, position, at, account, user_id, ip, device, outcome, digest
FROM login_history
WHERE period = $1 AND position > $2
ORDER BY position
LIMIT $3
"""


async def select_chained_logins(
    db: Executor, *, period: datetime, after: int, most: int
) -> list[Login]:
    """A stretch of one chain, in order."""
    return [Login(*record) for record in await db.fetch(SELECT_CHAINED_LOGINS, period, after, most)]
