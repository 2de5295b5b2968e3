"""What the forms of the security page send."""

from pydantic import Json

from holdfast.apps.identity.passkeys.schemas import NewCredential, PasskeyName, TicketText
from holdfast.apps.identity.wire import Input


class NewPasskeyForm(Input):
    """What a script has filled in, and what its owner calls it."""

    name: PasskeyName
    ticket: TicketText
    credential: Json[NewCredential]
