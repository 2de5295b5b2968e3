"""Answers that are ready before anybody asks: which bytes there are, which of them somebody gets.

A list is encoded and compressed once, when it is read, and then only handed out. A list that
changes by the clock alone is a `Timeline`: its pages of the coming minutes, each from its moment.
"""

import gzip
from bisect import bisect_right
from hashlib import blake2b

import msgspec

from holdfast.core.compression import WORTH_COMPRESSING

LEVEL = 6


class Ready(msgspec.Struct, frozen=True):
    """A body with its headers, and those alone that a 304 repeats."""

    body: bytes
    tag: bytes
    headers: list[tuple[bytes, bytes]]
    unchanged: list[tuple[bytes, bytes]]


class Listing(msgspec.Struct, frozen=True):
    """One answer in the forms that there are of it."""

    plain: Ready
    zipped: Ready | None


class Timeline(msgspec.Struct, frozen=True):
    """What is answered from each moment on, the first included; nothing is known of `until`."""

    moments: list[float]
    listings: list[Listing]
    until: float

    def at(self, now: float) -> Listing:
        return self.listings[max(0, bisect_right(self.moments, now) - 1)]


def listing_of(body: bytes) -> Listing:
    name = blake2b(body, digest_size=12).hexdigest().encode()
    plain = _ready(body, b'"%s"' % name)
    if len(body) < WORTH_COMPRESSING:
        return Listing(plain, None)
    small = gzip.compress(body, LEVEL, mtime=0)
    return Listing(plain, _ready(small, b'"%s-gzip"' % name, (b"content-encoding", b"gzip")))


def _ready(body: bytes, tag: bytes, *encoded: tuple[bytes, bytes]) -> Ready:
    unchanged = [
        (b"etag", tag),
        (b"cache-control", b"public, no-cache"),  # to be kept, and asked about each time
        (b"vary", b"accept-encoding"),
    ]
    length = (b"content-length", b"%d" % len(body))
    headers = [(b"content-type", b"application/json"), length, *encoded, *unchanged]
    return Ready(body, tag, headers, unchanged)


def is_known(tag: bytes, if_none_match: bytes) -> bool:
    """Weak or strong makes no difference here, and no tag has a quotation mark inside."""
    return tag in if_none_match or if_none_match.strip() == b"*"
