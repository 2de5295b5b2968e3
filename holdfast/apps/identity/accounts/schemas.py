"""What goes over the wire about accounts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from holdfast.apps.identity.passwords import SHORTEST
from holdfast.apps.identity.wire import Email, Input, PasswordText, Text

Name = Annotated[Text, Field(min_length=1, max_length=100)]
NewPassword = Annotated[PasswordText, Field(min_length=SHORTEST)]


class RegisterIn(Input):
    email: Email
    password: NewPassword
    name: Name | None = None


class RegisteredOut(BaseModel):
    email: str


class ChangeMeIn(Input):
    name: Name | None


class ChangePasswordIn(Input):
    current_password: PasswordText
    new_password: NewPassword


class UserOut(BaseModel):
    id: UUID
    email: str
    name: str | None
    roles: list[str]
    created_at: datetime
