"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

LOCK_QUEUE = """
SELECT
  pg_advisory_xact_lock(hashtext(current_schema() || '.order_requests')),
  set_config('idle_in_transaction_session_timeout', '1s', true),
  set_config('transaction_timeout', '4s', true)
"""


async def lock_queue(db: Executor) -> None:
    """Whoever adds does so alone: then requests can be seen in the order of their ids, and nobody who came
    later is decided about first. A worker that was stopped in the middle must not keep the others out.
    """
    await db.execute(LOCK_QUEUE)


class Stored(NamedTuple):
    n: int
    id: UUID
    digest: bytes
    state: str
    order_id: UUID | None
    problem: str | None
    requested_at: datetime
    decided_at: datetime | None


INSERT_REQUESTS = """
WITH asked AS MATERIALIZED (
  SELECT
    unnest($1::integer[]) AS n,
    unnest($2::uuid[]) AS customer_id,
    unnest($3::text[]) AS key,
    unnest($4::bytea[]) AS digest,
    unnest($5::jsonb[]) AS items
), known AS MATERIALIZED (
  SELECT asked.n, request.id, request.digest, request.state, request.order_id, request.problem, request.requested_at, request.decided_at
  FROM asked CROSS JOIN LATERAL (
    SELECT id, digest, state, order_id, problem, requested_at, decided_at FROM order_requests
    WHERE order_requests.customer_id = asked.customer_id AND order_requests.key = asked.key
    LIMIT 1
  ) AS request
), made AS (
  INSERT INTO order_requests (customer_id, key, digest, items, requested_at)
  SELECT customer_id, key, digest, items, statement_timestamp()
  FROM asked WHERE n NOT IN (SELECT n FROM known)
  ORDER BY n
  LIMIT $6::bigint - (
    SELECT count(*) FROM (
      SELECT id FROM order_requests WHERE state = 'waiting'
      ORDER BY id LIMIT $6::bigint
    ) AS waiting
  )
  RETURNING customer_id, key, id, digest, state, order_id, problem, requested_at, decided_at
)
SELECT n, id, digest, state, order_id, problem, requested_at, decided_at FROM known
UNION ALL
SELECT
  n, made.id, made.digest, made.state, made.order_id, made.problem, made.requested_at,
  made.decided_at
FROM made JOIN asked USING (customer_id, key)
"""


async def insert_requests(
    db: Executor,
    *,
    ns: Sequence[int],
    customer_ids: Sequence[UUID],
    keys: Sequence[str],
    digests: Sequence[bytes],
    items: Sequence[str],
    most: int,
) -> list[Stored]:
    """The requests as they are now: those that were there under their customer's key, and the new ones, in
    this order, as long as no more than so many wait. For the others there is nothing.
    """
    return [
        Stored(*record)
        for record in await db.fetch(INSERT_REQUESTS, ns, customer_ids, keys, digests, items, most)
    ]


LOCK_DECISIONS = """
SELECT pg_try_advisory_xact_lock(
  hashtext(current_schema() || '.order_requests decided')
) AS decides
"""


async def lock_decisions(db: Executor) -> bool:
    """Whether this process is the one that decides. A statement of its own: one that waited for the lock
    would still see what was there before.
    """
    [record] = await db.fetch(LOCK_DECISIONS)
    value: bool = record[0]
    return value


class Waiting(NamedTuple):
    id: UUID
    customer_id: UUID
    key: str
    digest: bytes
    items: str
    requested_at: datetime
    tries: int


SELECT_REQUESTS_WAITING = """
SELECT id, customer_id, key, digest, items, requested_at, tries FROM order_requests
WHERE state = 'waiting' AND next_try_at <= clock_timestamp() AND NOT items @> ANY($1::jsonb[])
ORDER BY id
LIMIT $2
"""


async def select_requests_waiting(
    db: Executor, *, aside: Sequence[str], most: int
) -> list[Waiting]:
    """Who came first, except for those who want one of these offers; each is given as [[offer_id]]."""
    return [Waiting(*record) for record in await db.fetch(SELECT_REQUESTS_WAITING, aside, most)]


UPDATE_REQUESTS_PLACED = """
UPDATE order_requests AS request SET
  state = 'placed',
  order_id = (
    SELECT id FROM orders
    WHERE orders.customer_id = request.customer_id AND orders.key = request.key
  ),
  decided_at = clock_timestamp()
WHERE id = ANY($1::uuid[]) AND requested_at >= $2 AND state = 'waiting'
"""


async def update_requests_placed(db: Executor, *, ids: Sequence[UUID], oldest: datetime) -> None:
    """Each with the order that has its key."""
    await db.execute(UPDATE_REQUESTS_PLACED, ids, oldest)


UPDATE_REQUESTS_REFUSED = """
UPDATE order_requests SET state = 'refused', problem = $1, decided_at = clock_timestamp()
WHERE id = ANY($2::uuid[]) AND requested_at >= $3 AND state = 'waiting'
"""


async def update_requests_refused(
    db: Executor, *, problem: str | None, ids: Sequence[UUID], oldest: datetime
) -> None:
    """All for the same reason."""
    await db.execute(UPDATE_REQUESTS_REFUSED, problem, ids, oldest)


UPDATE_REQUESTS_FAILED = """
UPDATE order_requests SET
  tries = tries + 1,
  next_try_at = clock_timestamp() + 2 ^ tries * interval '1 s'
WHERE id = ANY($1::uuid[]) AND requested_at >= $2 AND state = 'waiting'
"""


async def update_requests_failed(db: Executor, *, ids: Sequence[UUID], oldest: datetime) -> None:
    """They are tried again, later each time; the others need not wait for them."""
    await db.execute(UPDATE_REQUESTS_FAILED, ids, oldest)


class Request(NamedTuple):
    id: UUID
    state: str
    order_id: UUID | None
    problem: str | None
    requested_at: datetime
    decided_at: datetime | None


SELECT_REQUEST = """
SELECT id, state, order_id, problem, requested_at, decided_at FROM order_requests
WHERE id = $1 AND customer_id = $2 LIMIT 1
"""


async def select_request(db: Executor, *, request_id: UUID, customer_id: UUID) -> Request | None:
    """One's own, and nobody else's."""
    record = await db.fetchrow(SELECT_REQUEST, request_id, customer_id)
    return None if record is None else Request(*record)


SELECT_REQUESTS_DECIDED = """
SELECT id, state, order_id, problem, requested_at, decided_at FROM order_requests
WHERE id = ANY($1::uuid[]) AND state <> 'waiting'
"""


async def select_requests_decided(db: Executor, ids: Sequence[UUID]) -> list[Request]:
    """Those of these that are."""
    return [Request(*record) for record in await db.fetch(SELECT_REQUESTS_DECIDED, ids)]


class Queue(NamedTuple):
    waiting: int
    oldest_s: float


SELECT_QUEUE = """
SELECT
  count(*) AS waiting,
  coalesce(extract(epoch FROM now() - min(requested_at)), 0)::float8 AS oldest_s
FROM order_requests WHERE state = 'waiting'
"""


async def select_queue(db: Executor) -> Queue:
    """How many wait, and how long the oldest of them has."""
    [record] = await db.fetch(SELECT_QUEUE)
    return Queue(*record)
