-- name: insert_ticket :exec
INSERT INTO tickets (hash, expires_at, purpose, user_id, facts)
VALUES (@hash, @expires_at, @purpose, sqlc.narg(user_id), @facts);

-- name: update_ticket_used :one
-- Use it up, once: of many at the same moment one gets the row.
-- row: Redeemed
UPDATE tickets SET used_at = now()
WHERE hash = @hash AND expires_at = @expires_at AND expires_at > now() AND used_at IS NULL
RETURNING user_id, facts;

-- name: select_ticket :one
-- What it says, used or not, for as long as it is valid.
-- row: Ticket
SELECT user_id, facts, (used_at IS NOT NULL)::boolean AS used FROM tickets
WHERE hash = @hash AND expires_at = @expires_at AND expires_at > now();

-- name: delete_user_tickets :exec
-- The user's open links and steps are worth nothing any more.
DELETE FROM tickets WHERE user_id = @user_id AND used_at IS NULL;
