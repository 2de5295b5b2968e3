"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor

INSERT_AUDIT = """
INSERT INTO audit_log (actor_id, user_id, action, facts)
SELECT $1::uuid, unnest($2::uuid[]), $3, $4::jsonb
"""


async def insert_audit(
    db: Executor, *, actor_id: UUID | None, user_ids: Sequence[UUID | None], action: str, facts: str
) -> None:
    """The same for each of the users; nobody, too, is written as one."""
    await db.execute(INSERT_AUDIT, actor_id, user_ids, action, facts)


class Entry(NamedTuple):
    id: UUID
    at: datetime
    actor_id: UUID | None
    user_id: UUID | None
    action: str
    facts: str


SELECT_AUDIT = """
(
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE user_id = $1::uuid
    AND ($2::uuid IS NULL OR actor_id = $2)
    AND ($3::text IS NULL OR action = $3)
    AND ($4::uuid IS NULL OR id < $4)
  ORDER BY id DESC LIMIT $5
) UNION ALL (
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE $1::uuid IS NULL AND actor_id = $2
    AND ($3::text IS NULL OR action = $3)
    AND ($4::uuid IS NULL OR id < $4)
  ORDER BY id DESC LIMIT $5
) UNION ALL (
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE $1::uuid IS NULL AND $2::uuid IS NULL
    AND action = $3
    AND ($4::uuid IS NULL OR id < $4)
  ORDER BY id DESC LIMIT $5
) UNION ALL (
  SELECT id, at, actor_id, user_id, action, facts FROM audit_log
  WHERE $1::uuid IS NULL AND $2::uuid IS NULL
    AND $3::text IS NULL
    AND ($4::uuid IS NULL OR id < $4)
  ORDER BY id DESC LIMIT $5
)
ORDER BY id DESC
"""


async def select_audit(
    db: Executor,
    *,
    user_id: UUID | None,
    actor_id: UUID | None,
    action: str | None,
    before: UUID | None,
    most: int,
) -> list[Entry]:
    """A page of the log, newest first. Each branch has its index; those that were not asked for are
    not run, also when the plan was made for every question alike.
    """
    return [
        Entry(*record)
        for record in await db.fetch(SELECT_AUDIT, user_id, actor_id, action, before, most)
    ]
