"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Line(NamedTuple):
    offer_id: UUID
    in_line: int


SELECT_LINES = """
SELECT offer_id, count(*) AS in_line FROM waiting
WHERE offer_id = ANY($1::uuid[]) GROUP BY offer_id
"""


async def select_lines(db: Executor, offer_ids: Sequence[UUID]) -> list[Line]:
    """How many wait for each of these offers, for which anybody does."""
    return [Line(*record) for record in await db.fetch(SELECT_LINES, offer_ids)]


class Standing(NamedTuple):
    offer_id: UUID
    customer_id: UUID
    waits: bool
    units: int


SELECT_STANDINGS = """
SELECT
  asked.offer_id, asked.customer_id,
  (
    SELECT number FROM waiting
    WHERE offer_id = asked.offer_id AND customer_id = asked.customer_id
  ) IS NOT NULL AS waits,
  coalesce((
    SELECT units FROM possessions
    WHERE offer_id = asked.offer_id AND customer_id = asked.customer_id
  ), 0)::bigint AS units
FROM (
  SELECT
    unnest($1::uuid[]) AS offer_id,
    unnest($2::uuid[]) AS customer_id
) AS asked
"""


async def select_standings(
    db: Executor, *, offer_ids: Sequence[UUID], customer_ids: Sequence[UUID]
) -> list[Standing]:
    """For each who wants to wait: whether they do already, and how many units they have."""
    return [
        Standing(*record) for record in await db.fetch(SELECT_STANDINGS, offer_ids, customer_ids)
    ]


INSERT_WAITING = """
INSERT INTO waiting (offer_id, customer_id)
SELECT unnest($1::uuid[]), unnest($2::uuid[])
"""


async def insert_waiting(
    db: Executor, *, offer_ids: Sequence[UUID], customer_ids: Sequence[UUID]
) -> None:
    """To the end of the line, in this order."""
    await db.execute(INSERT_WAITING, offer_ids, customer_ids)


class Place(NamedTuple):
    offer_id: UUID
    customer_id: UUID
    position: int
    total: int


SELECT_PLACES = """
SELECT offer_id, customer_id, position, total
FROM (
  SELECT
    offer_id, customer_id,
    row_number() OVER (PARTITION BY offer_id ORDER BY number) AS position,
    count(*) OVER (PARTITION BY offer_id) AS total
  FROM waiting WHERE offer_id = ANY($1::uuid[])
) AS line
WHERE customer_id = ANY($2::uuid[])
"""


async def select_places(
    db: Executor, *, offer_ids: Sequence[UUID], customer_ids: Sequence[UUID]
) -> list[Place]:
    """Where these customers stand in the lines of these offers."""
    return [Place(*record) for record in await db.fetch(SELECT_PLACES, offer_ids, customer_ids)]


DELETE_WAITING = """
WITH offer AS (
  SELECT id FROM offers WHERE id = $2 FOR NO KEY UPDATE
)
DELETE FROM waiting
WHERE offer_id = (SELECT id FROM offer) AND customer_id = $1
"""


async def delete_waiting(db: Executor, *, customer_id: UUID, offer_id: UUID) -> None:
    """Under the offer's lock: whoever is being served at this moment was served before they left."""
    await db.execute(DELETE_WAITING, customer_id, offer_id)


SELECT_LINES_TO_TEND = """
SELECT id FROM offers
WHERE id = ANY(ARRAY(SELECT DISTINCT offer_id FROM waiting))
  AND (remaining > 0 OR closes_at <= clock_timestamp())
"""


async def select_lines_to_tend(db: Executor) -> list[UUID]:
    """Offers that somebody waits for although there is some left, or although the sale is over."""
    return [record[0] for record in await db.fetch(SELECT_LINES_TO_TEND)]


DELETE_WAITING_IN_VAIN = """
DELETE FROM waiting WHERE offer_id = ANY(ARRAY(
  SELECT id FROM offers WHERE id = ANY($1::uuid[]) AND closes_at <= clock_timestamp()
))
"""


async def delete_waiting_in_vain(db: Executor, offer_ids: Sequence[UUID]) -> None:
    """Nothing of an offer that is over comes back to anybody."""
    await db.execute(DELETE_WAITING_IN_VAIN, offer_ids)


SELECT_PEOPLE_IN_LINE = """
SELECT count(*) FROM waiting
"""


async def select_people_in_line(db: Executor) -> int:
    """For all offers together."""
    [record] = await db.fetch(SELECT_PEOPLE_IN_LINE)
    value: int = record[0]
    return value
