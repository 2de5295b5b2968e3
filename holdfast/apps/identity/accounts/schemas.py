"""What goes over the wire about accounts."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

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
    name: Name | None = None
    language: Literal["en", "ko"] | None = None

    @model_validator(mode="after")
    def _refuse_nothing(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("say what to change: name, language, or both")
        return self


class ChangePasswordIn(Input):
    current_password: PasswordText
    new_password: NewPassword
