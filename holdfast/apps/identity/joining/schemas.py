"""What the forms of the links in mails send; the ticket is in the page's address."""

from typing import Annotated

from fastapi import Query

from holdfast.apps.identity.accounts.schemas import NewPassword
from holdfast.apps.identity.wire import Input

Ticket = Annotated[str, Query(max_length=200)]


class NewPasswordForm(Input):
    new_password: NewPassword
