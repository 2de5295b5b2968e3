"""What goes over the wire to prove once more who is calling."""

from typing import Literal

from pydantic import BaseModel

from holdfast.apps.identity.second_factor.schemas import CodeText
from holdfast.apps.identity.wire import Input, PasswordText


class StepUpIn(Input):
    password: PasswordText | None = None
    code: CodeText | None = None


class AccessOut(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme
    expires_in: int
