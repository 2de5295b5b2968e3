"""Who asks: the peer, or whoever a proxy of ours says; a stranger's word about it is taken off."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from starlette.types import Scope

from holdfast.core.limits import client_address, is_within

REMEMBERED = 16_384
LONGEST_REMEMBERED = 200
NO_ADDRESS = "127.0.0.1"  # of a peer on a Unix socket
SAYS_WHO = frozenset(
    {b"forwarded", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
)
SAYS_MORE = b"x-forwarded-"


class Proxies:
    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self.any = bool(trusted)
        self._trusted = trusted
        self._is_ours = lru_cache(REMEMBERED)(self._look_up)
        self._client_of = lru_cache(REMEMBERED)(self._read)

    def client_of(self, scope: Scope) -> str:
        """The client's address; from here on the headers say nothing that is not believed."""
        peer = peer_of(scope)
        if not self.any or not self._is_ours(peer):
            scope["headers"] = [pair for pair in scope["headers"] if not _tells(pair[0])]
            return peer
        told = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        read = self._client_of if len(told) <= LONGEST_REMEMBERED else self._read
        return read(peer, told)

    def _look_up(self, peer: str) -> bool:
        return is_within(peer, self._trusted)

    def _read(self, peer: str, told: bytes) -> str:
        return client_address(peer, [told.decode("latin-1")], self._trusted)


def peer_of(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client and client[0] else NO_ADDRESS


def _tells(name: bytes) -> bool:
    return name in SAYS_WHO or name.startswith(SAYS_MORE)
