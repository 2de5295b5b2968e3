"""The login history as a chain: each digest covers its row and the digest before it."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from holdfast.apps.identity.secrets import Secrets

Address = IPv4Address | IPv6Address


class Attempt(NamedTuple):
    """Somebody tried to sign in."""

    account: bytes
    user_id: UUID | None
    ip: Address
    device: str
    outcome: str


class Row(Protocol):
    @property
    def at(self) -> datetime: ...
    @property
    def account(self) -> bytes: ...
    @property
    def user_id(self) -> UUID | None: ...
    @property
    def ip(self) -> Address: ...
    @property
    def device(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def digest(self) -> bytes: ...


class BrokenChainError(Exception):
    """The history was changed, or rows are missing."""


def digests(
    secrets: Secrets, head: bytes, at: datetime, first: int, attempts: Iterable[Attempt]
) -> Iterator[bytes]:
    """The digests of attempts that are appended to a chain that ends in `head`."""
    for position, attempt in enumerate(attempts, first):
        head = _digest(secrets, head, position, at, attempt)
        yield head


def verify(secrets: Secrets, head: bytes, after: int, rows: Iterable[Row]) -> tuple[bytes, int]:
    """Follow a stretch of a chain; answers its end, or says where it is broken."""
    for row in rows:
        attempt = Attempt(row.account, row.user_id, row.ip, row.device, row.outcome)
        expected = _digest(secrets, head, after + 1, row.at, attempt)
        if row.position != after + 1 or row.digest != expected:
            raise BrokenChainError(f"The row at position {after + 1} was changed or removed.")
        head, after = row.digest, row.position
    return head, after


def _digest(secrets: Secrets, head: bytes, position: int, at: datetime, attempt: Attempt) -> bytes:
    content = msgspec.msgpack.encode((position, at, *attempt[:2], str(attempt.ip), *attempt[3:]))
    return secrets.sign("login history", head, content)
