"""Lanes: in which of them an attempt is counted.

Each account has lanes for its password and others for its second factor. Whoever has signed in
from a device keeps a lane of their own there, so that strangers' failures do not lock them out.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from uuid import UUID

from holdfast.apps.identity.secrets import Secrets

STRANGERS = UUID(int=0)
UUID_BYTES = 16


def password_lanes(email: str, secrets: Secrets) -> bytes:
    """The account whose password is tried, whether there is such an account or not."""
    return secrets.sign("account", email.encode())


def second_factor_lanes(user_id: UUID, secrets: Secrets) -> bytes:
    """The account whose codes are tried: apart, as a right password must not end these failures."""
    return secrets.sign("second factor", user_id.bytes)


def device_mark(device: UUID, user_id: UUID, secrets: Secrets) -> str:
    """What a device keeps to prove that this user has signed in there."""
    signed = device.bytes + secrets.sign("known device", device.bytes, user_id.bytes)
    return urlsafe_b64encode(signed).decode().rstrip("=")


def lane_of(mark: str | None, user_id: UUID | None, secrets: Secrets) -> UUID:
    """The device's own lane if its mark is genuine and this user's, otherwise the strangers'."""
    if mark is None or user_id is None:
        return STRANGERS
    try:
        device = UUID(bytes=urlsafe_b64decode(mark + "=" * (-len(mark) % 4))[:UUID_BYTES])
    except ValueError:
        return STRANGERS
    genuine = device_mark(device, user_id, secrets)
    return device if compare_digest(genuine.encode(), mark.encode()) else STRANGERS
