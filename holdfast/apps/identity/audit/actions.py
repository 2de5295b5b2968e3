"""The audit log: who did what to whom, written in the transaction that did it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from holdfast.apps.identity.audit import queries
from holdfast.core.db import Executor


async def record(
    db: Executor, action: str, *, actor: UUID | None, user: UUID | None = None, **facts: Any
) -> None:
    """Note an action such as `user.banned`; facts hold no secrets and nobody's address."""
    await record_each(db, action, [user], actor=actor, **facts)


async def record_each(
    db: Executor, action: str, users: Sequence[UUID | None], *, actor: UUID | None, **facts: Any
) -> None:
    """Note an action that was done to several people at once."""
    await queries.insert_audit(
        db,
        actor_id=actor,
        user_ids=users,
        action=action,
        facts=msgspec.json.encode(facts).decode(),
    )
