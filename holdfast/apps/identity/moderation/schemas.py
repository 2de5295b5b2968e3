"""What goes over the wire to look after other people's accounts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from holdfast.apps.identity.wire import Input, Text


class BanIn(Input):
    reason: Annotated[Text, Field(min_length=1, max_length=200)] | None = None


class UserOut(BaseModel):
    id: UUID
    email: str
    email_verified: bool
    name: str | None
    roles: list[str]
    banned: bool
    created_at: datetime


class WholeUserOut(UserOut):
    permissions: list[str]
    second_factor: bool
    banned_at: datetime | None
    ban_reason: str | None
