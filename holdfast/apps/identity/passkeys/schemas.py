"""What goes over the wire about passkeys. Browsers may add members to a credential: they are ignored."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from holdfast.apps.identity.wire import Input, Text

BASE64URL = "^[A-Za-z0-9_-]+$"
# The longest that is allowed: an id has 1,023 bytes, and a user handle 64.
Id = Annotated[str, Field(max_length=1364, pattern=BASE64URL)]
Handle = Annotated[str, Field(max_length=86, pattern=BASE64URL)]
Encoded = Annotated[str, Field(max_length=32_768, pattern=BASE64URL)]
TicketText = Annotated[Text, Field(min_length=1, max_length=200)]
PasskeyName = Annotated[Text, Field(min_length=1, max_length=100)]


class Credential(BaseModel):
    id: Id
    raw_id: Annotated[Id, Field(alias="rawId")]
    type: Literal["public-key"]

    def told(self) -> dict[str, Any]:
        """As the browser has written it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Attestation(BaseModel):
    client_data: Annotated[Encoded, Field(alias="clientDataJSON")]
    attestation_object: Annotated[Encoded, Field(alias="attestationObject")]
    transports: Annotated[list[Annotated[str, Field(max_length=32)]], Field(max_length=16)] = []


class NewCredential(Credential):
    response: Attestation


class Assertion(BaseModel):
    client_data: Annotated[Encoded, Field(alias="clientDataJSON")]
    authenticator_data: Annotated[Encoded, Field(alias="authenticatorData")]
    signature: Encoded
    user_handle: Annotated[Handle | None, Field(alias="userHandle")] = None


class KnownCredential(Credential):
    response: Assertion


class BegunOut(BaseModel):
    ticket: str
    options: dict[str, Any]


class AddPasskeyIn(Input):
    ticket: TicketText
    name: PasskeyName
    credential: NewCredential


class PasskeyAnswerIn(Input):
    ticket: TicketText
    credential: KnownCredential


class RenamePasskeyIn(Input):
    name: PasskeyName


class PasskeyOut(BaseModel):
    id: UUID
    name: str
    backed_up: bool
    created_at: datetime
    last_used_at: datetime | None
