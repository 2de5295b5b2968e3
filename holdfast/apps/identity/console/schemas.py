"""What the forms of the console send, where the API takes another shape."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from holdfast.apps.identity.clients.schemas import ClientChangeIn, ClientIn, ClientName
from holdfast.apps.identity.roles.schemas import PermissionName, RoleName
from holdfast.apps.identity.wire import Email, Input, Text
from holdfast.core.errors import InvalidError


class BanForm(Input):
    reason: Annotated[Text, Field(max_length=200)] = ""


class DeletionForm(Input):
    """Whose account it is, typed: nobody deletes the wrong one by a slip."""

    email: Email


class AssignmentForm(Input):
    role: RoleName


class GrantForm(Input):
    permission: PermissionName


class ClientForm(Input):
    """A client as it is typed: addresses and scopes apart by spaces or lines."""

    name: ClientName
    kind: Literal["confidential", "public", "service"] = "confidential"
    redirect_uris: Annotated[Text, Field(max_length=20_000)] = ""
    logout_uris: Annotated[Text, Field(max_length=20_000)] = ""
    scopes: Annotated[Text, Field(max_length=5_000)] = ""
    trusted: bool = False

    def client(self) -> ClientIn:
        try:
            return ClientIn(
                name=self.name,
                redirect_uris=self.redirect_uris.split(),
                logout_uris=self.logout_uris.split(),
                scopes=self.scopes.split(),
                trusted=self.trusted,
                confidential=self.kind != "public",
                service_account=self.kind == "service",
            )
        except ValidationError as error:
            fields = {str(one["loc"][0]): one["msg"] for one in error.errors()}
            raise InvalidError(*fields.items()) from None

    def change(self) -> ClientChangeIn:
        told = self.client().model_dump(exclude={"confidential", "service_account"})
        return ClientChangeIn(**told)
