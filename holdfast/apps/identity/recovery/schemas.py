"""What goes over the wire to get back into an account."""

from typing import Annotated

from pydantic import Field

from holdfast.apps.identity.accounts.schemas import NewPassword
from holdfast.apps.identity.wire import Email, Input, Text


class RequestResetIn(Input):
    email: Email


class ResetPasswordIn(Input):
    ticket: Annotated[Text, Field(min_length=1, max_length=200)]
    new_password: NewPassword
