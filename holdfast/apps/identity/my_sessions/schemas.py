"""What the forms of the sessions' page send."""

from typing import Annotated

from pydantic import Field

from holdfast.apps.identity.personal_tokens.schemas import PersonalTokenIn
from holdfast.apps.identity.roles.schemas import PermissionName


class NewTokenForm(PersonalTokenIn):
    """A form says "none" by sending nothing, so "all" is said aloud."""

    everything: bool = False
    scopes: Annotated[list[PermissionName], Field(max_length=100)] = Field([])
