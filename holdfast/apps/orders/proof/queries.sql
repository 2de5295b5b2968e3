-- name: select_winners :many
-- A page of everybody who got one, in the order of sale. The id is unique: the limit only keeps the
-- planner from reading a whole table that it believes to be small.
-- row: Winner
-- not null: holds
SELECT item.place, item.order_id, item.quantity, its.placed_at, its.holds
FROM order_items AS item
CROSS JOIN LATERAL (
  SELECT placed_at, status IN ('reserved', 'paid') AS holds
  FROM orders WHERE id = item.order_id LIMIT 1
) AS its
WHERE item.offer_id = @offer_id AND item.place > sqlc.arg(after)::bigint
ORDER BY item.place
LIMIT @most;

-- name: select_ledger :one
-- Whatever was answered before `as_of` is in it.
-- row: Ledger
-- not null: as_of
SELECT initial, remaining, held, sold, places, statement_timestamp() AS as_of
FROM offers WHERE id = @offer_id;
