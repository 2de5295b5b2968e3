"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Confirmed(NamedTuple):
    id: UUID
    age_s: float
    has_room: bool


SELECT_OFFERS_KNOWN = """
SELECT
  id, extract(epoch FROM clock_timestamp() - confirmed_at)::float8 AS age_s,
  admit_per_s IS NOT NULL AS has_room
FROM offers WHERE id = ANY($1::uuid[])
"""


async def select_offers_known(db: Executor, ids: Sequence[UUID]) -> list[Confirmed]:
    """How long ago the catalog last said that these are so, and whether they have a waiting room."""
    return [Confirmed(*record) for record in await db.fetch(SELECT_OFFERS_KNOWN, ids)]


UPSERT_OFFERS = """
WITH told AS MATERIALIZED (
  SELECT
    unnest($1::uuid[]) AS id,
    unnest($2::text[]) AS kind,
    unnest($3::uuid[]) AS product_id,
    unnest($4::text[]) AS name,
    unnest($5::bigint[]) AS price_krw,
    unnest($6::timestamptz[]) AS opens_at,
    unnest($7::timestamptz[]) AS closes_at,
    unnest($8::integer[]) AS per_customer,
    unnest($9::integer[]) AS admit_per_s,
    unnest($10::bigint[]) AS quantity
), kept AS (
  INSERT INTO offers AS known (
    id, kind, product_id, name, price_krw, opens_at, closes_at, per_customer, admit_per_s,
    initial, remaining
  )
  SELECT
    id, kind, product_id, name, price_krw, opens_at, closes_at, per_customer, admit_per_s,
    quantity, quantity
  FROM told ORDER BY id
  ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    price_krw = excluded.price_krw,
    opens_at = excluded.opens_at,
    closes_at = excluded.closes_at,
    per_customer = excluded.per_customer,
    admit_per_s = excluded.admit_per_s,
    initial = greatest(excluded.initial, known.held + known.sold),
    remaining = greatest(excluded.initial - known.held - known.sold, 0),
    changes = known.changes
      + (greatest(excluded.initial, known.held + known.sold) <> known.initial)::integer,
    confirmed_at = clock_timestamp()
  RETURNING id, remaining, held, sold, changes, old.changes AS changes_before
)
INSERT INTO outbox (type, payload)
SELECT 'stock.changed', jsonb_build_object(
  'offer_id', id, 'remaining', remaining, 'held', held, 'sold', sold, 'changes', changes
)
FROM kept WHERE changes > changes_before
"""


async def upsert_offers(
    db: Executor,
    *,
    ids: Sequence[UUID],
    kinds: Sequence[str],
    product_ids: Sequence[UUID],
    names: Sequence[str],
    prices_krw: Sequence[int],
    opens_at: Sequence[datetime | None],
    closes_at: Sequence[datetime | None],
    per_customer: Sequence[int | None],
    admit_per_s: Sequence[int | None],
    quantities: Sequence[int],
) -> None:
    """What the catalog says now. As many as were sold or are held stay so, whatever it says. When there
    are more or fewer than before, an event tells of it.
    """
    await db.execute(
        UPSERT_OFFERS,
        ids,
        kinds,
        product_ids,
        names,
        prices_krw,
        opens_at,
        closes_at,
        per_customer,
        admit_per_s,
        quantities,
    )


UPDATE_OFFERS_CLOSED = """
UPDATE offers SET closes_at = least(closes_at, clock_timestamp()), confirmed_at = clock_timestamp()
WHERE id = ANY(ARRAY(
  SELECT id FROM offers WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
))
RETURNING id
"""


async def update_offers_closed(db: Executor, ids: Sequence[UUID]) -> list[UUID]:
    """The catalog has them no more: what was bought stays bought, and nothing more is sold. Answers
    those that were ever known here.
    """
    return [record[0] for record in await db.fetch(UPDATE_OFFERS_CLOSED, ids)]


class Units(NamedTuple):
    remaining: int
    held: int
    sold: int


SELECT_UNITS_ON_SALE = """
SELECT
  coalesce(sum(remaining), 0)::bigint AS remaining,
  coalesce(sum(held), 0)::bigint AS held,
  coalesce(sum(sold), 0)::bigint AS sold
FROM offers WHERE kind = 'deal' AND closes_at > now() AND opens_at <= now()
"""


async def select_units_on_sale(db: Executor) -> Units:
    """Of all deals that are open at this moment."""
    [record] = await db.fetch(SELECT_UNITS_ON_SALE)
    return Units(*record)
