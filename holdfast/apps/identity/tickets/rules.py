"""Tickets as pure values. The text says when it ends and carries a mark for its one purpose."""

import os
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from holdfast.apps.identity.secrets import Secrets

PREFIX = "hft_"
EXPIRY_BYTES, RANDOM_BYTES = 5, 24


class Ticket(NamedTuple):
    body: bytes

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(int.from_bytes(self.body[:EXPIRY_BYTES], "big"), UTC)

    @property
    def hash(self) -> bytes:
        """What the database knows of it."""
        return sha256(self.body).digest()


def make(expires_at: datetime) -> Ticket:
    expiry = int(expires_at.timestamp()).to_bytes(EXPIRY_BYTES, "big")
    return Ticket(expiry + os.urandom(RANDOM_BYTES))


def write(ticket: Ticket, purpose: str, secrets: Secrets) -> str:
    return secrets.write(PREFIX, f"ticket {purpose}", ticket.body)


def read(text: str, purpose: str, secrets: Secrets) -> Ticket | None:
    """The ticket, unless this service cannot have written it for this purpose."""
    body = secrets.read(PREFIX, f"ticket {purpose}", text)
    return Ticket(body) if body and len(body) == EXPIRY_BYTES + RANDOM_BYTES else None
