"""What a session may do, as every worker remembers it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from holdfast.core.epochs import Slots


def user_subject(user_id: UUID) -> str:
    return f"user:{user_id}"


def session_subject(session_id: UUID) -> str:
    return f"session:{session_id}"


def role_subject(role: str) -> str:
    return f"role:{role}"


class Grants(msgspec.Struct, frozen=True):
    """A session's user and permissions, with the slots that this rests on."""

    open: bool
    slots: tuple[int, ...]
    user_id: UUID | None = None
    email: str | None = None  # a service account has none
    email_verified: bool = False
    language: str = "en"
    authenticated_at: datetime | None = None  # a personal token's holder has proved nothing
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    profile: bytes = b""  # the answer of GET /users/me, ready to send


def grants_of(row: Any) -> Grants:
    profile = {
        "id": row.user_id,
        "email": row.email,
        "email_verified": row.email_verified,
        "name": row.name,
        "language": row.language,
        "roles": row.roles,
        "permissions": row.permissions,
        "created_at": row.created_at,
    }
    subjects = [
        user_subject(row.user_id),
        session_subject(row.session_id),
        *(role_subject(role) for role in row.roles),
    ]
    return Grants(
        open=True,
        slots=Slots.of(*subjects),
        user_id=row.user_id,
        email=row.email,
        email_verified=row.email_verified,
        language=row.language,
        authenticated_at=row.authenticated_at,
        roles=frozenset(row.roles),
        permissions=frozenset(row.permissions),
        profile=msgspec.json.encode({"data": profile}),
    )


def ended(session_id: UUID) -> Grants:
    """An ended session stays ended, and is remembered like any other."""
    return Grants(open=False, slots=Slots.of(session_subject(session_id)))
