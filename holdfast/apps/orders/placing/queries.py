"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Offer(NamedTuple):
    id: UUID
    price_krw: int
    per_customer: int | None
    has_room: bool
    remaining: int
    places: int
    name: str
    state: str
    patience: str
    patience_in_all: str
    plan: str


LOCK_OFFERS = """
SELECT
  id, price_krw, per_customer, admit_per_s IS NOT NULL AS has_room, remaining, places, name,
  CASE
    WHEN clock_timestamp() >= closes_at THEN 'over'
    WHEN clock_timestamp() < opens_at THEN 'early'
    ELSE 'open'
  END AS state,
  set_config('idle_in_transaction_session_timeout', '1s', true) AS patience,
  set_config('transaction_timeout', '4s', true) AS patience_in_all,
  set_config('enable_seqscan', 'off', true) AS plan
FROM offers WHERE id = ANY($1::uuid[])
ORDER BY id
FOR NO KEY UPDATE
"""


async def lock_offers(db: Executor, ids: Sequence[UUID]) -> list[Offer]:
    """As they are when everybody who came before is done. Whoever asks next waits here, in one order of
    ids, so that two baskets never wait for each other. A worker that was stopped in the middle must
    not keep the others out: it has a second between two statements, and four in all, because one
    that stops while it sends a statement is not idle to the server. And what comes next must not be
    planned as a scan because the tables were empty when somebody analysed them: a plan is kept.
    """
    return [Offer(*record) for record in await db.fetch(LOCK_OFFERS, ids)]


class Past(NamedTuple):
    n: int
    order_id: UUID | None
    digest: bytes | None
    units: int


SELECT_HISTORY = """
SELECT asked.n, known.id AS order_id, known.digest, coalesce(mine.units, 0)::bigint AS units
FROM (
  SELECT
    unnest($1::integer[]) AS n,
    unnest($2::uuid[]) AS customer_id,
    unnest($3::text[]) AS key,
    unnest($4::uuid[]) AS offer_id
) AS asked
LEFT JOIN LATERAL (
  SELECT id, digest FROM orders
  WHERE orders.customer_id = asked.customer_id AND orders.key BETWEEN asked.key AND asked.key
  ORDER BY orders.key LIMIT 1
) AS known ON true
LEFT JOIN LATERAL (
  SELECT units FROM possessions
  WHERE possessions.offer_id = asked.offer_id AND possessions.customer_id = asked.customer_id
  LIMIT 1
) AS mine ON true
WHERE known.id IS NOT NULL OR mine.units IS NOT NULL
"""


async def select_history(
    db: Executor,
    *,
    ns: Sequence[int],
    customer_ids: Sequence[UUID],
    keys: Sequence[str],
    limited_ids: Sequence[UUID | None],
) -> list[Past]:
    """For each item that is asked for: the order that has this key already, and how many units of the
    offer its customer has, where an offer is given. Nothing for most. There is one of each at most: the
    limits only keep the planner from reading a whole table that it believes to be small, and a range in
    the order of keys from reading all orders of a customer, by an index that begins like the right one.
    """
    return [
        Past(*record)
        for record in await db.fetch(SELECT_HISTORY, ns, customer_ids, keys, limited_ids)
    ]


class Made(NamedTuple):
    n: int
    id: UUID
    placed_at: datetime
    held_until: datetime


INSERT_ORDERS = """
WITH asked AS MATERIALIZED (
  SELECT
    uuidv7() AS id,
    unnest($2::integer[]) AS n,
    unnest($3::uuid[]) AS customer_id,
    unnest($4::text[]) AS key,
    unnest($5::bytea[]) AS digest,
    unnest($6::bigint[]) AS total_krw
), picked AS MATERIALIZED (
  SELECT
    unnest($7::integer[]) AS n,
    unnest($8::smallint[]) AS line,
    unnest($9::uuid[]) AS offer_id,
    unnest($10::bigint[]) AS place,
    unnest($11::integer[]) AS quantity
), made AS (
  INSERT INTO orders (id, customer_id, key, digest, total_krw, placed_at, held_until, changed_at)
  SELECT
    id, customer_id, key, digest, total_krw,
    statement_timestamp(), statement_timestamp() + $1::interval, statement_timestamp()
  FROM asked
), taken AS (
  UPDATE offers SET
    remaining = remaining - units, held = held + units,
    places = places + buyers, changes = changes + 1
  FROM (
    SELECT offer_id, sum(quantity) AS units, count(*) AS buyers FROM picked GROUP BY offer_id
  ) AS wanted
  WHERE id = wanted.offer_id
  RETURNING id, name, price_krw, remaining, held, sold, changes
), items AS (
  INSERT INTO order_items
  SELECT asked.id, line, offer_id, customer_id, place, quantity, price_krw, name
  FROM picked JOIN asked USING (n) JOIN taken ON taken.id = offer_id
), events AS (
  INSERT INTO outbox (type, payload)
  SELECT 'order.placed', jsonb_build_object(
    'order_id', id, 'customer_id', customer_id, 'total_krw', total_krw
  )
  FROM asked
  UNION ALL
  SELECT 'stock.changed', jsonb_build_object(
    'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
  )
  FROM taken
)
SELECT
  n, id, statement_timestamp() AS placed_at,
  (statement_timestamp() + $1::interval)::timestamptz AS held_until
FROM asked
"""


async def insert_orders(
    db: Executor,
    *,
    hold: timedelta,
    ns: Sequence[int],
    customer_ids: Sequence[UUID],
    keys: Sequence[str],
    digests: Sequence[bytes],
    totals_krw: Sequence[int],
    item_ns: Sequence[int],
    lines: Sequence[int],
    offer_ids: Sequence[UUID],
    places: Sequence[int],
    quantities: Sequence[int],
) -> list[Made]:
    """The orders of all who got one, their items, what is left, and the events that tell of it. Their
    time is this statement's: a transaction that began earlier may have waited for the lock, and a
    later place must not have an earlier time.
    """
    return [
        Made(*record)
        for record in await db.fetch(
            INSERT_ORDERS,
            hold,
            ns,
            customer_ids,
            keys,
            digests,
            totals_krw,
            item_ns,
            lines,
            offer_ids,
            places,
            quantities,
        )
    ]


SELECT_BUYERS = """
SELECT customer_id FROM order_items WHERE offer_id = $1 AND place > $2
"""


async def select_buyers(db: Executor, *, offer_id: UUID, after: int) -> list[UUID]:
    """Everybody who has ever got one of an offer, after this place."""
    return [record[0] for record in await db.fetch(SELECT_BUYERS, offer_id, after)]
