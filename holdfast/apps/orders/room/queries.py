"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_ROOMS = """
INSERT INTO rooms (offer_id)
SELECT id FROM offers WHERE id = ANY($1::uuid[]) AND admit_per_s IS NOT NULL ORDER BY id
ON CONFLICT DO NOTHING
"""


async def insert_rooms(db: Executor, offer_ids: Sequence[UUID]) -> None:
    """The rooms of those offers that have one, in one order of ids for everybody."""
    await db.execute(INSERT_ROOMS, offer_ids)


class Locked(NamedTuple):
    offer_id: UUID
    patience: str
    patience_in_all: str


LOCK_ROOMS = """
SELECT
  offer_id,
  set_config('idle_in_transaction_session_timeout', '1s', true) AS patience,
  set_config('transaction_timeout', '4s', true) AS patience_in_all
FROM rooms WHERE offer_id = ANY($1::uuid[])
ORDER BY offer_id
FOR NO KEY UPDATE
"""


async def lock_rooms(db: Executor, offer_ids: Sequence[UUID]) -> list[Locked]:
    """Whoever joins or gives turns does so one after the other. One that stops in the middle must not
    keep the others out, just as with the offers' locks.
    """
    return [Locked(*record) for record in await db.fetch(LOCK_ROOMS, offer_ids)]


class Room(NamedTuple):
    offer_id: UUID
    admit_per_s: int | None
    opens_at: datetime | None
    closes_at: datetime | None
    remaining: int
    now: datetime
    gathered: int
    turns: int
    next_number: int


SELECT_ROOMS = """
SELECT
  offer.id AS offer_id, offer.admit_per_s, offer.opens_at, offer.closes_at, offer.remaining,
  statement_timestamp() AS now,
  coalesce(room.gathered, 0)::bigint AS gathered, coalesce(room.turns, 0)::bigint AS turns,
  coalesce((
    SELECT number FROM room_entries
    WHERE room_entries.offer_id = offer.id AND turn_at > statement_timestamp()
    ORDER BY turn_at LIMIT 1
  ), room.turns + 1, 1)::bigint AS next_number
FROM offers AS offer
LEFT JOIN LATERAL (
  SELECT gathered, turns FROM rooms WHERE rooms.offer_id = offer.id LIMIT 1
) AS room ON true
WHERE offer.id = ANY($1::uuid[])
"""


async def select_rooms(db: Executor, offer_ids: Sequence[UUID]) -> list[Room]:
    """How things stand at this moment. `next_number` is of the turn that comes next, given or not."""
    return [Room(*record) for record in await db.fetch(SELECT_ROOMS, offer_ids)]


class Entry(NamedTuple):
    offer_id: UUID
    customer_id: UUID
    joins: int
    number: int | None
    turn_at: datetime | None
    used_at: datetime | None


SELECT_ENTRIES = """
SELECT entry.offer_id, entry.customer_id, entry.joins, entry.number, entry.turn_at, entry.used_at
FROM (
  SELECT
    unnest($1::uuid[]) AS offer_id,
    unnest($2::uuid[]) AS customer_id
) AS asked
CROSS JOIN LATERAL (
  SELECT offer_id, customer_id, arrival, draw, joins, number, turn_at, used_at FROM room_entries
  WHERE room_entries.offer_id = asked.offer_id AND room_entries.customer_id = asked.customer_id
  LIMIT 1
) AS entry
"""


async def select_entries(
    db: Executor, *, offer_ids: Sequence[UUID], customer_ids: Sequence[UUID]
) -> list[Entry]:
    """Of these customers, each in the room of an offer, those who are in it or were."""
    return [Entry(*record) for record in await db.fetch(SELECT_ENTRIES, offer_ids, customer_ids)]


LOCK_ENTRIES = """
SELECT offer_id, customer_id, joins, number, turn_at, used_at
FROM room_entries
WHERE offer_id = $1 AND customer_id = ANY($2::uuid[])
ORDER BY customer_id
FOR NO KEY UPDATE
"""


async def lock_entries(
    db: Executor, *, offer_id: UUID, customer_ids: Sequence[UUID]
) -> list[Entry]:
    """The same in one room, before they join again. Who orders at this moment is waited for."""
    return [Entry(*record) for record in await db.fetch(LOCK_ENTRIES, offer_id, customer_ids)]


SELECT_SATISFIED = """
SELECT customer_id FROM possessions
WHERE offer_id = $1 AND customer_id = ANY($2::uuid[])
  AND units >= (SELECT per_customer FROM offers WHERE id = $1)
"""


async def select_satisfied(
    db: Executor, *, offer_id: UUID, customer_ids: Sequence[UUID]
) -> list[UUID]:
    """Those of these customers who have as many as one may buy."""
    return [record[0] for record in await db.fetch(SELECT_SATISFIED, offer_id, customer_ids)]


UPSERT_ENTRIES = """
WITH offer AS (
  SELECT id, statement_timestamp() < opens_at AS by_lot FROM offers WHERE id = $2
), joined AS (
  INSERT INTO room_entries AS known (offer_id, customer_id, draw)
  SELECT id, unnest($1::uuid[]), CASE WHEN by_lot THEN gen_random_uuid() END FROM offer
  ON CONFLICT (offer_id, customer_id) DO UPDATE SET
    arrival = DEFAULT, draw = excluded.draw, joins = known.joins + 1,
    number = NULL, turn_at = NULL, used_at = NULL
)
UPDATE rooms SET gathered = gathered + cardinality($1::uuid[])
FROM offer WHERE rooms.offer_id = offer.id
"""


async def upsert_entries(db: Executor, *, customer_ids: Sequence[UUID], offer_id: UUID) -> None:
    """Into the room, without a turn: by lot before the opening, then in this order. Whoever was in it
    before has no other turn any more. The room is locked already.
    """
    await db.execute(UPSERT_ENTRIES, customer_ids, offer_id)


UPDATE_TURNS_GIVEN = """
WITH room AS MATERIALIZED (
  SELECT
    rooms.offer_id, turns, ceil(1000000.0 / admit_per_s) * interval '1 us' AS apart,
    greatest(next_turn_at, statement_timestamp()) AS from_at
  FROM rooms JOIN offers ON offers.id = rooms.offer_id
  WHERE rooms.offer_id = $1 AND gathered > 0 AND admit_per_s IS NOT NULL
    AND (opens_at IS NULL OR opens_at <= statement_timestamp())
    AND (closes_at IS NULL OR closes_at > statement_timestamp())
), drawn AS MATERIALIZED (
  SELECT customer_id, row_number() OVER (ORDER BY draw, arrival) AS n
  FROM room CROSS JOIN LATERAL (
    SELECT customer_id, draw, arrival FROM room_entries
    WHERE room_entries.offer_id = room.offer_id AND turn_at IS NULL
    ORDER BY draw, arrival LIMIT $2
  ) AS first
), given AS (
  INSERT INTO room_entries (offer_id, customer_id, number, turn_at)
  SELECT offer_id, customer_id, turns + n, from_at + (n - 1) * apart FROM room CROSS JOIN drawn
  ON CONFLICT (offer_id, customer_id) DO UPDATE SET
    number = excluded.number, turn_at = excluded.turn_at
)
UPDATE rooms SET
  gathered = gathered - number, turns = rooms.turns + number, next_turn_at = from_at + number * apart
FROM room CROSS JOIN (SELECT count(*) AS number FROM drawn) AS counted
WHERE rooms.offer_id = room.offer_id
RETURNING number
"""


async def update_turns_given(db: Executor, *, offer_id: UUID, most: int) -> int | None:
    """Turns for those who have none, once the sale is open: first by lot, then as they came, each as
    long after the one before as the rate says, or a little longer. Answers how many; the room is
    locked already. They are all there: to insert them again finds each by its key, where the planner
    could join an update in a worse way.
    """
    value: int | None = await db.fetchval(UPDATE_TURNS_GIVEN, offer_id, most)
    return value


LOCK_ADMITTED = """
SELECT customer_id FROM room_entries
WHERE offer_id = $1 AND customer_id = ANY($2::uuid[])
  AND used_at IS NULL AND turn_at <= statement_timestamp()
  AND turn_at > statement_timestamp() - $3::interval
ORDER BY customer_id
FOR NO KEY UPDATE
"""


async def lock_admitted(
    db: Executor, *, offer_id: UUID, customer_ids: Sequence[UUID], patience: timedelta
) -> list[UUID]:
    """Those of these customers whose turn it is. It stays theirs until the order is placed or refused."""
    return [record[0] for record in await db.fetch(LOCK_ADMITTED, offer_id, customer_ids, patience)]


UPDATE_ENTRIES_USED = """
UPDATE room_entries SET used_at = statement_timestamp()
WHERE offer_id = $1 AND customer_id = ANY($2::uuid[])
"""


async def update_entries_used(
    db: Executor, *, offer_id: UUID, customer_ids: Sequence[UUID]
) -> None:
    """A turn is good for one order, which is placed in this transaction."""
    await db.execute(UPDATE_ENTRIES_USED, offer_id, customer_ids)


SELECT_ROOMS_TO_OPEN = """
SELECT id FROM offers
WHERE id = ANY(ARRAY(SELECT offer_id FROM rooms WHERE gathered > 0)) AND admit_per_s IS NOT NULL
  AND (opens_at IS NULL OR opens_at <= clock_timestamp())
  AND (closes_at IS NULL OR closes_at > clock_timestamp())
"""


async def select_rooms_to_open(db: Executor) -> list[UUID]:
    """Offers on sale, in whose rooms somebody has no turn."""
    return [record[0] for record in await db.fetch(SELECT_ROOMS_TO_OPEN)]


SELECT_PEOPLE = """
SELECT coalesce(sum(gathered + waiting.number), 0)::bigint AS people
FROM rooms CROSS JOIN LATERAL (
  SELECT coalesce((
    SELECT turns + 1 - number FROM room_entries
    WHERE room_entries.offer_id = rooms.offer_id AND turn_at > statement_timestamp()
    ORDER BY turn_at LIMIT 1
  ), 0) AS number
) AS waiting
"""


async def select_people(db: Executor) -> int:
    """How many in all rooms have no turn yet or wait for theirs."""
    [record] = await db.fetch(SELECT_PEOPLE)
    value: int = record[0]
    return value


SELECT_ROOMS_OVER = """
SELECT id FROM offers
WHERE id = ANY(ARRAY(SELECT offer_id FROM rooms))
  AND closes_at < clock_timestamp() - $1::interval
ORDER BY id
"""


async def select_rooms_over(db: Executor, after: timedelta) -> list[UUID]:
    """Offers whose sale has been over for so long that nobody asks about the room any more."""
    return [record[0] for record in await db.fetch(SELECT_ROOMS_OVER, after)]


DELETE_ENTRIES = """
DELETE FROM room_entries AS entry
WHERE entry.offer_id = $1 AND entry.customer_id = ANY(ARRAY(
  SELECT customer_id FROM room_entries AS old WHERE old.offer_id = $1 LIMIT $2
))
"""


async def delete_entries(db: Executor, *, offer_id: UUID, most: int) -> int:
    """Some of a room's. Answers how many."""
    status = await db.execute(DELETE_ENTRIES, offer_id, most)
    return int(status.rpartition(" ")[2])


DELETE_ROOM = """
DELETE FROM rooms WHERE offer_id = $1
"""


async def delete_room(db: Executor, offer_id: UUID) -> None:
    """One that is empty."""
    await db.execute(DELETE_ROOM, offer_id)
