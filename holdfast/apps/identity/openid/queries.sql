-- name: lock_client_kept :one
-- What the client may ask for, unchanged until commit; many may read it so at once.
-- row: KeptClient
SELECT scopes, trusted, service_id FROM clients WHERE id = @client_id FOR SHARE;

-- name: lock_user_kept :one
-- The account, neither banned nor signed out everywhere until commit.
SELECT id FROM users WHERE id = @user_id AND banned_at IS NULL FOR SHARE;

-- name: select_sign_in :one
-- The sign-in in a browser by which a code was given, while it is open, and what its user agrees to.
-- row: SignIn
SELECT s.authenticated_at, s.amr, s.ip, s.device,
  coalesce((
    SELECT c.scopes FROM consents c WHERE c.user_id = s.user_id AND c.client_id = @client_id
  ), '{}')::text[] AS agreed
FROM sessions s
WHERE s.id = @session_id AND s.user_id = @user_id AND s.ended_at IS NULL AND s.expires_at > now();

-- name: select_used_code :one
-- What a code stood for, long after it has expired.
SELECT facts FROM tickets
WHERE hash = @hash AND expires_at = @expires_at AND used_at IS NOT NULL;
