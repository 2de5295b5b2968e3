-- name: update_email_verified :exec
UPDATE users SET email_verified_at = now() WHERE id = @user_id;

-- name: update_email :exec
-- The mail arrived there, so it is verified too.
UPDATE users SET email = @email, email_verified_at = now() WHERE id = @user_id;
