"""What goes over the wire about attempts to sign in."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from pydantic import BaseModel

from holdfast.apps.identity.history.rules import Outcome


class LoginOut(BaseModel):
    id: str
    at: datetime
    ip: IPv4Address | IPv6Address
    device: str
    outcome: Outcome
