"""Generated from queries.sql by `make sql`; edit that file instead."""

from uuid import UUID

from holdfast.core.db import Executor

UPDATE_EMAIL_VERIFIED = """
UPDATE users SET email_verified_at = now() WHERE id = $1
"""


async def update_email_verified(db: Executor, user_id: UUID) -> None:
    await db.execute(UPDATE_EMAIL_VERIFIED, user_id)


UPDATE_EMAIL = """
UPDATE users SET email = $1, email_verified_at = now() WHERE id = $2
"""


async def update_email(db: Executor, *, email: str | None, user_id: UUID) -> None:
    """The mail arrived there, so it is verified too."""
    await db.execute(UPDATE_EMAIL, email, user_id)
