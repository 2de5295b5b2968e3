"""A session carried by its id: in a browser's cookie, or as a personal access token.

The text is the session's id and its end, with a mark that only this service can make. Whether the
session is still open is not in it: see `cache`.
"""

import time
from datetime import datetime
from typing import Literal
from uuid import UUID

from holdfast.apps.identity.secrets import Secrets

UUID_BYTES, EXPIRY_BYTES = 16, 5

Carrier = Literal["hfs_", "hfp_"]
BROWSER: Carrier = "hfs_"
PERSONAL: Carrier = "hfp_"


def write_carried(
    carrier: Carrier, session_id: UUID, expires_at: datetime, secrets: Secrets
) -> str:
    expiry = int(expires_at.timestamp()).to_bytes(EXPIRY_BYTES, "big")
    return secrets.write(carrier, f"carried {carrier}", session_id.bytes + expiry)


def read_carried(carrier: Carrier, text: str, secrets: Secrets) -> UUID | None:
    """The session's id, unless this service cannot have written it or its time is over."""
    body = secrets.read(carrier, f"carried {carrier}", text)
    if not body or len(body) != UUID_BYTES + EXPIRY_BYTES:
        return None
    over = int.from_bytes(body[UUID_BYTES:], "big") <= time.time()
    return None if over else UUID(bytes=body[:UUID_BYTES])
