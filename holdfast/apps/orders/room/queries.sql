-- name: insert_rooms :exec
-- The rooms of those offers that have one, in one order of ids for everybody.
INSERT INTO rooms (offer_id)
SELECT id FROM offers WHERE id = ANY(@offer_ids::uuid[]) AND admit_per_s IS NOT NULL ORDER BY id
ON CONFLICT DO NOTHING;

-- name: lock_rooms :many
-- Whoever joins or gives turns does so one after the other. One that stops in the middle must not
-- keep the others out, just as with the offers' locks.
-- row: Locked
SELECT
  offer_id,
  set_config('idle_in_transaction_session_timeout', '1s', true) AS patience,
  set_config('transaction_timeout', '4s', true) AS patience_in_all
FROM rooms WHERE offer_id = ANY(@offer_ids::uuid[])
ORDER BY offer_id
FOR NO KEY UPDATE;

-- name: select_rooms :many
-- How things stand at this moment. `next_number` is of the turn that comes next, given or not.
-- row: Room
-- not null: now, gathered, turns, next_number
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
WHERE offer.id = ANY(@offer_ids::uuid[]);

-- name: select_entries :many
-- Of these customers, each in the room of an offer, those who are in it or were.
-- row: Entry
SELECT entry.offer_id, entry.customer_id, entry.joins, entry.number, entry.turn_at, entry.used_at
FROM (
  SELECT
    unnest(@offer_ids::uuid[]) AS offer_id,
    unnest(@customer_ids::uuid[]) AS customer_id
) AS asked
CROSS JOIN LATERAL (
  SELECT * FROM room_entries
  WHERE room_entries.offer_id = asked.offer_id AND room_entries.customer_id = asked.customer_id
  LIMIT 1
) AS entry;

-- name: lock_entries :many
-- The same in one room, before they join again. Who orders at this moment is waited for.
-- row: Entry
SELECT offer_id, customer_id, joins, number, turn_at, used_at
FROM room_entries
WHERE offer_id = @offer_id AND customer_id = ANY(@customer_ids::uuid[])
ORDER BY customer_id
FOR NO KEY UPDATE;

-- name: select_satisfied :many
-- Those of these customers who have as many as one may buy.
SELECT customer_id FROM possessions
WHERE offer_id = @offer_id AND customer_id = ANY(@customer_ids::uuid[])
  AND units >= (SELECT per_customer FROM offers WHERE id = @offer_id);

-- name: upsert_entries :exec
-- Into the room, without a turn: by lot before the opening, then in this order. Whoever was in it
-- before has no other turn any more. The room is locked already.
WITH offer AS (
  SELECT id, statement_timestamp() < opens_at AS by_lot FROM offers WHERE id = @offer_id
), joined AS (
  INSERT INTO room_entries AS known (offer_id, customer_id, draw)
  SELECT id, unnest(@customer_ids::uuid[]), CASE WHEN by_lot THEN gen_random_uuid() END FROM offer
  ON CONFLICT (offer_id, customer_id) DO UPDATE SET
    arrival = DEFAULT, draw = excluded.draw, joins = known.joins + 1,
    number = NULL, turn_at = NULL, used_at = NULL
)
UPDATE rooms SET gathered = gathered + cardinality(@customer_ids::uuid[])
FROM offer WHERE rooms.offer_id = offer.id;

-- name: update_turns_given :one
-- Turns for those who have none, once the sale is open: first by lot, then as they came, each as
-- long after the one before as the rate says, or a little longer. Answers how many; the room is
-- locked already. They are all there: to insert them again finds each by its key, where the planner
-- could join an update in a worse way.
-- not null: number
WITH room AS MATERIALIZED (
  SELECT
    rooms.offer_id, turns, ceil(1000000.0 / admit_per_s) * interval '1 us' AS apart,
    greatest(next_turn_at, statement_timestamp()) AS from_at
  FROM rooms JOIN offers ON offers.id = rooms.offer_id
  WHERE rooms.offer_id = @offer_id AND gathered > 0 AND admit_per_s IS NOT NULL
    AND (opens_at IS NULL OR opens_at <= statement_timestamp())
    AND (closes_at IS NULL OR closes_at > statement_timestamp())
), drawn AS MATERIALIZED (
  SELECT customer_id, row_number() OVER (ORDER BY draw, arrival) AS n
  FROM room CROSS JOIN LATERAL (
    SELECT customer_id, draw, arrival FROM room_entries
    WHERE room_entries.offer_id = room.offer_id AND turn_at IS NULL
    ORDER BY draw, arrival LIMIT @most
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
RETURNING number;

-- name: lock_admitted :many
-- Those of these customers whose turn it is. It stays theirs until the order is placed or refused.
SELECT customer_id FROM room_entries
WHERE offer_id = @offer_id AND customer_id = ANY(@customer_ids::uuid[])
  AND used_at IS NULL AND turn_at <= statement_timestamp()
  AND turn_at > statement_timestamp() - @patience::interval
ORDER BY customer_id
FOR NO KEY UPDATE;

-- name: update_entries_used :exec
-- A turn is good for one order, which is placed in this transaction.
UPDATE room_entries SET used_at = statement_timestamp()
WHERE offer_id = @offer_id AND customer_id = ANY(@customer_ids::uuid[]);

-- name: select_rooms_to_open :many
-- Offers on sale, in whose rooms somebody has no turn.
SELECT id FROM offers
WHERE id = ANY(ARRAY(SELECT offer_id FROM rooms WHERE gathered > 0)) AND admit_per_s IS NOT NULL
  AND (opens_at IS NULL OR opens_at <= clock_timestamp())
  AND (closes_at IS NULL OR closes_at > clock_timestamp());

-- name: select_people :one
-- How many in all rooms have no turn yet or wait for theirs.
-- exactly one row
-- not null: people
SELECT coalesce(sum(gathered + waiting.number), 0)::bigint AS people
FROM rooms CROSS JOIN LATERAL (
  SELECT coalesce((
    SELECT turns + 1 - number FROM room_entries
    WHERE room_entries.offer_id = rooms.offer_id AND turn_at > statement_timestamp()
    ORDER BY turn_at LIMIT 1
  ), 0) AS number
) AS waiting;

-- name: select_rooms_over :many
-- Offers whose sale has been over for so long that nobody asks about the room any more.
SELECT id FROM offers
WHERE id = ANY(ARRAY(SELECT offer_id FROM rooms))
  AND closes_at < clock_timestamp() - sqlc.arg(after)::interval
ORDER BY id;

-- name: delete_entries :execrows
-- Some of a room's. Answers how many.
DELETE FROM room_entries AS entry
WHERE entry.offer_id = @offer_id AND entry.customer_id = ANY(ARRAY(
  SELECT customer_id FROM room_entries AS old WHERE old.offer_id = @offer_id LIMIT @most
));

-- name: delete_room :exec
-- One that is empty.
DELETE FROM rooms WHERE offer_id = @offer_id;
