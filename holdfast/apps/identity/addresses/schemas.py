"""What goes over the wire about e-mail addresses."""

from typing import Annotated

from pydantic import Field

from holdfast.apps.identity.wire import Email, Input, Text

TicketText = Annotated[Text, Field(min_length=1, max_length=200)]


class TicketIn(Input):
    ticket: TicketText


class ChangeEmailIn(Input):
    email: Email
