"""What goes over the wire to sign in."""

from typing import Annotated

from pydantic import Field

from holdfast.apps.identity.second_factor.schemas import CodeText
from holdfast.apps.identity.wire import Email, Input, PasswordText, Text


class LoginIn(Input):
    email: Email
    password: PasswordText


class SecondStepIn(Input):
    ticket: Annotated[Text, Field(min_length=1, max_length=200)]
    code: CodeText
