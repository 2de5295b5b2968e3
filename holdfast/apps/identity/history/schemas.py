"""What goes over the wire about attempts to sign in."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from pydantic import BaseModel

Outcome = Literal[
    "succeeded", "wrong_password", "wrong_second_factor", "unknown_account", "delayed", "banned"
]


class LoginOut(BaseModel):
    id: str
    at: datetime
    ip: IPv4Address | IPv6Address
    device: str
    outcome: Outcome
