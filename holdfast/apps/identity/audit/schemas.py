"""What goes over the wire about the audit log."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

Hand = Literal["you", "administrator", "nobody"]


class AuditOut(BaseModel):
    id: UUID
    at: datetime
    actor_id: UUID | None
    user_id: UUID | None
    action: str
    facts: dict[str, Any]


class ActivityOut(BaseModel):
    id: UUID
    at: datetime
    by: Hand
    action: str
    facts: dict[str, Any]
