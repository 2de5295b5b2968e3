"""The visitor: where a request comes from, and which device it says that it is."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from fastapi import Request, Response

from holdfast.apps.identity.guard import address_of
from holdfast.apps.identity.resources import Identity

DEVICE_COOKIE = "holdfast_device"
ONE_YEAR_S = 365 * 86_400
LONGEST_DEVICE = 200


class Visitor(NamedTuple):
    ip: IPv4Address | IPv6Address
    device: str
    mark: str | None  # of a device from which somebody has signed in before


def visitor_of(here: Identity, request: Request) -> Visitor:
    return Visitor(
        ip=ip_address(address_of(here, request.scope)),
        device=request.headers.get("user-agent", "").replace("\0", "")[:LONGEST_DEVICE],
        mark=request.cookies.get(DEVICE_COOKIE),
    )


def keep_device(here: Identity, response: Response, mark: str) -> None:
    """Let the device prove next time that this user has signed in there."""
    response.set_cookie(
        DEVICE_COOKIE,
        mark,
        max_age=ONE_YEAR_S,
        path="/",
        secure=here.settings.origin.startswith("https://"),
        httponly=True,
        samesite="lax",
    )
