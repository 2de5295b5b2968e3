"""Stolen passwords as others have collected them: in a file of the operator's, or at a service.

Both know passwords by the SHA-1 of their text, in the format of Have I Been Pwned. A service is told
the first five of forty digits, and answers with all that begin so.
"""

import mmap
from hashlib import sha1
from pathlib import Path

import aiohttp

HASH_DIGITS = 40
TOLD_DIGITS = 5
ANSWERS_WITHIN = aiohttp.ClientTimeout(total=1)


def digest_of(password: str) -> str:
    return sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def is_in_file(file: Path, digest: str) -> bool:
    """Binary search among sorted lines `SHA1:count`. It reads the disk: call it in a thread."""
    wanted = digest.encode()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        low, high = 0, len(lines)
        while low < high:
            begins = lines.rfind(b"\n", 0, (low + high) // 2) + 1
            found = lines[begins : begins + HASH_DIGITS].upper()
            if found == wanted:
                return True
            if found < wanted:
                ends = lines.find(b"\n", begins)
                low = ends + 1 if ends >= 0 else high
            else:
                high = begins
    return False


async def is_in_range(http: aiohttp.ClientSession, url: str, digest: str) -> bool:
    """Ask a service; padding, which hides how many it knows, has a count of zero."""
    told, kept = digest[:TOLD_DIGITS], digest[TOLD_DIGITS:].encode()
    async with http.get(
        url + told,
        headers={"Add-Padding": "true"},
        timeout=ANSWERS_WITHIN,
        allow_redirects=False,
        raise_for_status=True,
    ) as answer:
        lines = (await answer.read()).upper().split()
    return any(suffix == kept and count.strip(b"0") for suffix, _, count in map(_parts, lines))


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b":")
