"""What the forms of the entrance send."""

from pydantic import Json

from holdfast.apps.identity.passkeys.schemas import KnownCredential, TicketText
from holdfast.apps.identity.second_factor.schemas import CodeText
from holdfast.apps.identity.wire import Input


class CodeForm(Input):
    code: CodeText


class PasskeyForm(Input):
    """What a script has filled in: a form can carry the browser's answer as text only."""

    ticket: TicketText
    credential: Json[KnownCredential]
