"""Where this worker last saw the chain of logins end.

If nobody else has appended since, the next attempts follow in one statement, with no lock held
while their digests are made. It is never trusted: the statement compares it with the chain.
"""

from dataclasses import dataclass


@dataclass
class ChainEnd:
    length: int = 0
    head: bytes = b""
