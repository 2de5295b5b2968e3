"""Refresh tokens as pure values: made, read, succeeded, and judged when they were used before.

A token says whose it is and when its family ends, and carries a keyed mark, so that an invented
one is refused without a question to the database. The successor of a token is derived from it
with a key that only the service has: whoever repeats a request whose answer was lost gets the
same successor, and no successor needs to be stored to be given again.
"""

import os
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.identity.secrets import Secrets

PREFIX = "hfr_"
USER_BYTES, EXPIRY_BYTES, RANDOM_BYTES = 16, 5, 24
BODY_BYTES = USER_BYTES + EXPIRY_BYTES + RANDOM_BYTES


class RefreshToken(NamedTuple):
    body: bytes

    @property
    def user_id(self) -> UUID:
        return UUID(bytes=self.body[:USER_BYTES])

    @property
    def expires_at(self) -> datetime:
        seconds = int.from_bytes(self.body[USER_BYTES : USER_BYTES + EXPIRY_BYTES], "big")
        return datetime.fromtimestamp(seconds, UTC)

    @property
    def hash(self) -> bytes:
        """What the database knows of it."""
        return sha256(self.body).digest()


def first_token(user_id: UUID, expires_at: datetime) -> RefreshToken:
    return _token(user_id, expires_at, os.urandom(RANDOM_BYTES))


def successor(token: RefreshToken, secrets: Secrets) -> RefreshToken:
    derived = secrets.sign("refresh successor", token.body)[:RANDOM_BYTES]
    return _token(token.user_id, token.expires_at, derived)


def write(token: RefreshToken, secrets: Secrets) -> str:
    return secrets.write(PREFIX, "refresh mark", token.body)


def read(text: str, secrets: Secrets) -> RefreshToken | None:
    """The token, unless this service cannot have written it."""
    body = secrets.read(PREFIX, "refresh mark", text)
    return RefreshToken(body) if body and len(body) == BODY_BYTES else None


class Verdict(Enum):
    """What it means that a token is presented which was used before."""

    ANSWER_WAS_LOST = auto()
    REUSED = auto()
    OVER = auto()


def judge(*, used_for: timedelta, session_open: bool, grace_s: float) -> Verdict:
    if not session_open:
        return Verdict.OVER
    if used_for.total_seconds() <= grace_s:
        return Verdict.ANSWER_WAS_LOST
    return Verdict.REUSED


def _token(user_id: UUID, expires_at: datetime, random: bytes) -> RefreshToken:
    expiry = int(expires_at.timestamp()).to_bytes(EXPIRY_BYTES, "big")
    return RefreshToken(user_id.bytes + expiry + random)
