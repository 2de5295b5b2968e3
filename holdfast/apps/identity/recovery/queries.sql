-- name: upsert_password :exec
-- Also the first one, of an account that had none. The mail arrived, so the address is verified.
WITH verified AS (
  UPDATE users SET email_verified_at = coalesce(email_verified_at, now()) WHERE id = @user_id
)
INSERT INTO credentials (user_id, password_hash) VALUES (@user_id, @password_hash)
ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, changed_at = now();

-- name: delete_ways_in :exec
-- Every way to sign in besides the password, what was agreed to, and the name.
WITH own_passkeys AS (DELETE FROM passkeys p WHERE p.user_id = @user_id),
  own_totp AS (DELETE FROM totp_secrets t WHERE t.user_id = @user_id),
  own_codes AS (DELETE FROM recovery_codes r WHERE r.user_id = @user_id),
  own_accounts AS (DELETE FROM oauth_accounts o WHERE o.user_id = @user_id),
  own_consents AS (DELETE FROM consents c WHERE c.user_id = @user_id)
UPDATE users u SET name = NULL WHERE u.id = @user_id;
