"""OAuth clients: as every worker remembers them, and what goes over the wire about them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field, StrictBool

from holdfast.apps.identity.oauth import CLIENT_ID
from holdfast.apps.identity.wire import Input, Text
from holdfast.core.epochs import Slots


def client_subject(client_id: str) -> str:
    return f"client:{client_id}"


class Client(msgspec.Struct, frozen=True):
    """A client with the slots that this rests on."""

    id: str
    name: str
    secret_hash: bytes | None  # none: it can keep no secret
    redirect_uris: frozenset[str]
    logout_uris: frozenset[str]
    scopes: frozenset[str]
    trusted: bool
    service_id: UUID | None
    slots: tuple[int, ...]

    @property
    def confidential(self) -> bool:
        return self.secret_hash is not None


def client_of(row: Any) -> Client:
    return Client(
        id=row.id,
        name=row.name,
        secret_hash=row.secret_hash,
        redirect_uris=frozenset(row.redirect_uris),
        logout_uris=frozenset(row.logout_uris),
        scopes=frozenset(row.scopes),
        trusted=row.trusted,
        service_id=row.service_id,
        slots=Slots.of(client_subject(row.id)),
    )


ClientId = Annotated[str, Field(pattern=CLIENT_ID)]
ClientName = Annotated[Text, Field(min_length=1, max_length=100)]
Address = Annotated[
    str, Field(max_length=1000, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[\x21\x22\x24-\x7e]+$")
]
Addresses = Annotated[list[Address], Field(max_length=20)]
Scope = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}(:[a-z][a-z0-9_-]{0,39})?$")]
Scopes = Annotated[list[Scope], Field(max_length=50)]


class ClientIn(Input):
    name: ClientName
    redirect_uris: Addresses = Field([])
    logout_uris: Addresses = Field([])
    scopes: Scopes = Field(["openid"])
    trusted: StrictBool = False
    confidential: StrictBool = True
    service_account: StrictBool = False


class ClientChangeIn(Input):
    """What is absent or null stays as it is."""

    name: ClientName | None = None
    redirect_uris: Addresses | None = None
    logout_uris: Addresses | None = None
    scopes: Scopes | None = None
    trusted: StrictBool | None = None


class ClientOut(BaseModel):
    client_id: str
    name: str
    confidential: bool
    redirect_uris: list[str]
    logout_uris: list[str]
    scopes: list[str]
    trusted: bool
    service_user_id: UUID | None
    created_at: datetime


class CreatedClientOut(ClientOut):
    client_secret: str | None


class SecretOut(BaseModel):
    client_secret: str
