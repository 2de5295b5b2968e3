-- name: select_signing_keys :many
-- Every key that signs or may still verify, oldest first.
-- row: SigningKey
SELECT kid, alg, public_jwk, private_sealed, signs_from, verifies_until FROM signing_keys
WHERE verifies_until IS NULL OR verifies_until > now()
ORDER BY signs_from;

-- name: lock_signing_keys :exec
-- One rotation at a time.
SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.signing_keys'));

-- name: insert_signing_key :exec
INSERT INTO signing_keys (kid, alg, public_jwk, private_sealed, signs_from)
VALUES (@kid, @alg, @public_jwk, @private_sealed, now() + sqlc.arg(lead)::interval);

-- name: delete_waiting_signing_keys :exec
-- A key that was to sign later has signed nothing yet: the newer one takes its place.
DELETE FROM signing_keys WHERE signs_from > now();

-- name: update_signing_keys_succeeded :exec
-- The keys before a new one verify until the last token that they may sign has expired.
UPDATE signing_keys SET verifies_until = now() + sqlc.arg(lead)::interval + sqlc.arg(token_life)::interval
WHERE kid <> @kid AND verifies_until IS NULL;

-- name: update_signing_key_withdrawn :execrows
-- Nothing that this key signed is valid any more.
UPDATE signing_keys SET verifies_until = now()
WHERE kid = @kid AND (verifies_until IS NULL OR verifies_until > now());
