-- name: select_lines :many
-- How many wait for each of these offers, for which anybody does.
-- row: Line
SELECT offer_id, count(*) AS in_line FROM waiting
WHERE offer_id = ANY(@offer_ids::uuid[]) GROUP BY offer_id;

-- name: select_standings :many
-- For each who wants to wait: whether they do already, and how many units they have.
-- row: Standing
-- not null: waits, units
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
    unnest(@offer_ids::uuid[]) AS offer_id,
    unnest(@customer_ids::uuid[]) AS customer_id
) AS asked;

-- name: insert_waiting :exec
-- To the end of the line, in this order.
INSERT INTO waiting (offer_id, customer_id)
SELECT unnest(@offer_ids::uuid[]), unnest(@customer_ids::uuid[]);

-- name: select_places :many
-- Where these customers stand in the lines of these offers.
-- row: Place
SELECT offer_id, customer_id, position, total
FROM (
  SELECT
    offer_id, customer_id,
    row_number() OVER (PARTITION BY offer_id ORDER BY number) AS position,
    count(*) OVER (PARTITION BY offer_id) AS total
  FROM waiting WHERE offer_id = ANY(@offer_ids::uuid[])
) AS line
WHERE customer_id = ANY(@customer_ids::uuid[]);

-- name: delete_waiting :exec
-- Under the offer's lock: whoever is being served at this moment was served before they left.
WITH offer AS (
  SELECT id FROM offers WHERE id = @offer_id FOR NO KEY UPDATE
)
DELETE FROM waiting
WHERE offer_id = (SELECT id FROM offer) AND customer_id = @customer_id;

-- name: select_lines_to_tend :many
-- Offers that somebody waits for although there is some left, or although the sale is over.
SELECT id FROM offers
WHERE id = ANY(ARRAY(SELECT DISTINCT offer_id FROM waiting))
  AND (remaining > 0 OR closes_at <= clock_timestamp());

-- name: delete_waiting_in_vain :exec
-- Nothing of an offer that is over comes back to anybody.
DELETE FROM waiting WHERE offer_id = ANY(ARRAY(
  SELECT id FROM offers WHERE id = ANY(@offer_ids::uuid[]) AND closes_at <= clock_timestamp()
));

-- name: select_people_in_line :one
-- For all offers together.
-- exactly one row
SELECT count(*) FROM waiting;
