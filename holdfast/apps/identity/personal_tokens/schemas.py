"""What goes over the wire about personal access tokens."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from holdfast.apps.identity.roles.schemas import PermissionName
from holdfast.apps.identity.wire import Input, Text


class PersonalTokenIn(Input):
    name: Annotated[Text, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[PermissionName], Field(max_length=100)] | None = None
    expires_in_days: Annotated[int, Field(ge=1, le=365)]


class PersonalTokenOut(BaseModel):
    id: UUID
    name: str
    scopes: list[str] | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class NewPersonalTokenOut(PersonalTokenOut):
    token: str
