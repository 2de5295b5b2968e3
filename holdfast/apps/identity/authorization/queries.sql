-- name: select_agreed_scopes :one
SELECT scopes FROM consents WHERE user_id = @user_id AND client_id = @client_id;

-- name: select_next_session_id :one
-- The id of a session that will begin when a code is exchanged.
-- exactly one row
-- not null: id
SELECT uuidv7() AS id;

-- name: upsert_consent :execrows
-- To these scopes, and to those before. No row when the client or the account is gone.
INSERT INTO consents AS consent (user_id, client_id, scopes)
SELECT u.id, c.id, @scopes::text[] FROM users u, clients c
WHERE u.id = @user_id AND c.id = @client_id
FOR KEY SHARE
ON CONFLICT (user_id, client_id) DO UPDATE SET
  scopes = array(SELECT DISTINCT unnest(consent.scopes || excluded.scopes) ORDER BY 1),
  given_at = now();

-- name: select_consents :many
-- row: Consent
SELECT c.client_id, clients.name, c.scopes, c.given_at
FROM consents c JOIN clients ON clients.id = c.client_id
WHERE c.user_id = @user_id AND c.client_id > @after
ORDER BY c.client_id
LIMIT @most;

-- name: delete_consent :execrows
DELETE FROM consents WHERE user_id = @user_id AND client_id = @client_id;
