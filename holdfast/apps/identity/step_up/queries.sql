-- name: select_proofs :one
-- By what this person can prove who they are, besides a passkey.
-- row: Proofs
-- nullable: password_hash
SELECT u.email::text AS email, c.password_hash,
  EXISTS (
    SELECT FROM totp_secrets t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL
  )::boolean AS second_factor
FROM users u LEFT JOIN credentials c ON c.user_id = u.id
WHERE u.id = @user_id AND NOT u.service;
