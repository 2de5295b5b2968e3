"""What goes over the wire about authenticator apps and recovery codes."""

from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.apps.identity.wire import Input, Text

CodeText = Annotated[Text, Field(min_length=1, max_length=64)]


class CodeIn(Input):
    code: CodeText


class TotpOut(BaseModel):
    secret: str
    uri: str


class RecoveryCodesOut(BaseModel):
    recovery_codes: list[str]


class FactorsOut(BaseModel):
    password: bool
    totp: bool
    recovery_codes_left: int
    passkeys: int
