"""Common passwords and names by their cores, in a file beside this one; read when first asked for.

`common.bin` is the sorted first four bytes of the SHA-256 of each core, made by
`lab/identity/common_passwords.py`. A password that is in no list is taken for one of them once
in a hundred thousand times.
"""

from bisect import bisect_left
from functools import cache
from hashlib import sha256
from pathlib import Path

FILE = Path(__file__).with_name("common.bin")
PREFIX_BYTES = 4


def is_common(core: str) -> bool:
    wanted, prefixes = prefix_of(core), _prefixes()
    at = bisect_left(
        range(len(prefixes) // PREFIX_BYTES), wanted, key=lambda index: _prefix(prefixes, index)
    )
    return _prefix(prefixes, at) == wanted


def prefix_of(core: str) -> bytes:
    return sha256(core.encode()).digest()[:PREFIX_BYTES]


@cache
def _prefixes() -> bytes:
    return FILE.read_bytes()


def _prefix(prefixes: bytes, index: int) -> bytes:
    return prefixes[index * PREFIX_BYTES : (index + 1) * PREFIX_BYTES]
