"""What goes over the wire about roles and permissions."""

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.apps.identity.wire import Input, Text

RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,39}$")]
PermissionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}:[a-z][a-z0-9_-]{0,39}$")]
Description = Annotated[Text, Field(max_length=200)]


class RoleIn(Input):
    name: RoleName
    description: Description = ""
    permissions: Annotated[list[PermissionName], Field(max_length=100)] = Field([])


class RoleChangeIn(Input):
    description: Description


class RoleOut(BaseModel):
    name: str
    description: str
    built_in: bool
    permissions: list[str]


class PermissionIn(Input):
    name: PermissionName
    description: Description = ""


class PermissionOut(BaseModel):
    name: str
    description: str
