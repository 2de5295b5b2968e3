-- name: insert_audit :exec
-- The same for each of the users; nobody, too, is written as one.
-- nullable items: user_ids
INSERT INTO audit_log (actor_id, user_id, action, facts)
SELECT sqlc.narg(actor_id)::uuid, unnest(@user_ids::uuid[]), @action, @facts::jsonb;

-- name: select_audit :many
-- A page of the log, newest first. Each branch has its index; those that were not asked for are
-- not run, also when the plan was made for every question alike.
-- row: Entry
-- nullable: actor_id, user_id
(
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE user_id = sqlc.narg(user_id)::uuid
    AND (sqlc.narg(actor_id)::uuid IS NULL OR actor_id = sqlc.narg(actor_id))
    AND (sqlc.narg(action)::text IS NULL OR action = sqlc.narg(action))
    AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
  ORDER BY id DESC LIMIT @most
) UNION ALL (
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE sqlc.narg(user_id)::uuid IS NULL AND actor_id = sqlc.narg(actor_id)
    AND (sqlc.narg(action)::text IS NULL OR action = sqlc.narg(action))
    AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
  ORDER BY id DESC LIMIT @most
) UNION ALL (
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE sqlc.narg(user_id)::uuid IS NULL AND sqlc.narg(actor_id)::uuid IS NULL
    AND action = sqlc.narg(action)
    AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
  ORDER BY id DESC LIMIT @most
) UNION ALL (
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE sqlc.narg(user_id)::uuid IS NULL AND sqlc.narg(actor_id)::uuid IS NULL
    AND sqlc.narg(action)::text IS NULL
    AND (sqlc.narg(before)::uuid IS NULL OR id < sqlc.narg(before))
  ORDER BY id DESC LIMIT @most
)
ORDER BY id DESC;
