"""Known devices: whoever has signed in from a device keeps a lane of their own there."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from uuid import UUID

from holdfast.apps.identity.secrets import Secrets

STRANGERS = UUID(int=0)
UUID_BYTES = 16


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
