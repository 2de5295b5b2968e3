-- name: insert_mail :exec
INSERT INTO mails (template, recipient, language, facts)
VALUES (@template, @recipient, @language, @facts);

-- name: select_mail_waiting :one
-- exactly one row
SELECT EXISTS (
  SELECT FROM mails
  WHERE sent_at IS NULL AND given_up_at IS NULL AND next_attempt_at <= now()
)::boolean AS waiting;

-- name: update_mail_taken :one
-- Take the mail that has waited longest, and say at once when the next attempt would be: nobody
-- else takes it until then, and if this attempt is cut off it is made again.
-- row: Waiting
UPDATE mails SET
  attempts = attempts + 1,
  next_attempt_at = now() + least(2 ^ attempts, 60) * interval '1 minute'
WHERE (id, created_at) = (
  SELECT id, created_at FROM mails
  WHERE sent_at IS NULL AND given_up_at IS NULL AND next_attempt_at <= now()
  ORDER BY next_attempt_at
  LIMIT 1
  FOR UPDATE SKIP LOCKED
)
RETURNING id, created_at, template, recipient, language, facts, attempts;

-- name: update_mail_done :exec
-- Sent, or kept in development; or there was nobody to send it to, as the note says.
UPDATE mails SET sent_at = now(), content = sqlc.narg(content), last_error = sqlc.narg(note)
WHERE id = @id AND created_at = @created_at;

-- name: update_mail_failed :exec
UPDATE mails SET
  last_error = @reason::text,
  given_up_at = CASE WHEN @for_good::boolean THEN now() END
WHERE id = @id AND created_at = @created_at;

-- name: update_mails_given_up :execrows
-- What nobody has taken for a day.
UPDATE mails SET given_up_at = now(), last_error = coalesce(last_error, 'No mail server took it.')
WHERE sent_at IS NULL AND given_up_at IS NULL AND created_at < now() - interval '1 day';

-- name: select_reader :one
-- The account of an address, unless it is banned.
-- row: Reader
SELECT id AS user_id, language, (email_verified_at IS NOT NULL)::boolean AS verified
FROM users WHERE email = @email AND banned_at IS NULL;

-- name: select_mover :one
-- The account that is to have another address, unless it is banned or the address is taken.
-- row: Reader
SELECT u.id AS user_id, u.language, (u.email_verified_at IS NOT NULL)::boolean AS verified
FROM users u
WHERE u.id = @user_id AND u.banned_at IS NULL
  AND NOT EXISTS (SELECT FROM users other WHERE other.email = @email);

-- name: select_signed_in_before :one
-- exactly one row
SELECT EXISTS (
  SELECT FROM login_history
  WHERE user_id = @user_id::uuid AND outcome = 'succeeded' AND at < @moment
)::boolean AS signed_in_before;

-- name: select_mails_unsent :one
-- How many mails wait, since when, and how many were given up of those that are still kept.
-- row: Unsent
-- exactly one row
-- not null: given_up, oldest_s
SELECT
  count(*) AS waiting,
  coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s,
  (SELECT count(*) FROM mails WHERE given_up_at IS NOT NULL) AS given_up
FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL;

-- name: select_mails :many
-- The newest mails, for the page that shows them in development.
-- row: Mail
SELECT id, created_at, recipient, language, template, content, last_error,
  (sent_at IS NOT NULL)::boolean AS done, (given_up_at IS NOT NULL)::boolean AS given_up
FROM mails ORDER BY id DESC LIMIT @most;

-- name: select_mail :one
-- row: Mail
SELECT id, created_at, recipient, language, template, content, last_error,
  (sent_at IS NOT NULL)::boolean AS done, (given_up_at IS NOT NULL)::boolean AS given_up
FROM mails WHERE id = @id;
