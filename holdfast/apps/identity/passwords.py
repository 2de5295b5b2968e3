"""Passwords: Argon2id for new ones, bcrypt accepted until its owner signs in again.

Hashing runs in a bounded pool of threads (see `core.shed`), never on the event loop. A password
that is checked for an account that does not exist costs the same as one that does. One text has one
spelling in Unicode's normal form C: two keyboards may send the same letters differently.
"""

from unicodedata import normalize

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.core.shed import Shed

SHORTEST = 15
LONGEST_BYTES = 1024
BCRYPT_READS_BYTES = 72  # it has always ignored the rest, and so must whoever takes its hashes over


def normalised(password: str) -> str:
    """As it is hashed, and as its characters are counted (NIST SP 800-63B-4)."""
    return normalize("NFC", password)


class Passwords:
    def __init__(self, pool: Shed) -> None:
        self._pool = pool
        self._argon2 = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._nobodys = self._argon2.hash("the password of no account")

    async def hash(self, password: str) -> str:
        return await self._pool.run(self._argon2.hash, normalised(password))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether it is the password; `None` stands for an account that does not exist."""
        right = await self._pool.run(self._verify, stored or self._nobodys, password)
        return right and stored is not None

    def outdated(self, stored: str) -> bool:
        return _is_bcrypt(stored) or self._argon2.check_needs_rehash(stored)

    def _verify(self, stored: str, password: str) -> bool:
        if _is_bcrypt(stored):
            return bcrypt.checkpw(password.encode()[:BCRYPT_READS_BYTES], stored.encode())
        # Earlier hashes were made of the text as it came.
        spellings = dict.fromkeys((normalised(password), password))
        return any(self._is_hash_of(stored, spelling) for spelling in spellings)

    def _is_hash_of(self, stored: str, text: str) -> bool:
        try:
            return self._argon2.verify(stored, text)
        except (VerificationError, InvalidHashError):
            return False


def _is_bcrypt(stored: str) -> bool:
    return stored.startswith(("$2a$", "$2b$", "$2y$"))
