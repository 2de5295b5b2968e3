"""Generated from queries.sql by `make sql`; edit that file instead."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.core.db import Executor


class Address(NamedTuple):
    id: UUID
    email: str | None


SELECT_ADDRESSES = """
SELECT id, email FROM users WHERE id = ANY($1::uuid[])
"""


async def select_addresses(db: Executor, ids: Sequence[UUID]) -> list[Address]:
    """Whose ids these are; no row for an account that is gone, no address for a service."""
    return [Address(*record) for record in await db.fetch(SELECT_ADDRESSES, ids)]


SELECT_USER_BY_ADDRESS = """
SELECT id FROM users WHERE email = $1
"""


async def select_user_by_address(db: Executor, email: str | None) -> UUID | None:
    value: UUID | None = await db.fetchval(SELECT_USER_BY_ADDRESS, email)
    return value


SELECT_ROLES_OF = """
SELECT role FROM user_roles WHERE user_id = $1 ORDER BY role
"""


async def select_roles_of(db: Executor, user_id: UUID) -> list[str]:
    return [record[0] for record in await db.fetch(SELECT_ROLES_OF, user_id)]
