"""What is derived from HOLDFAST_SECRET: one independent key for each purpose."""

import hmac
from hashlib import sha256


class Secrets:
    """Keyed hashes and keys; whoever has only the database can make none of them."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._keys: dict[str, bytes] = {}

    def key(self, purpose: str) -> bytes:
        if purpose not in self._keys:
            label = b"holdfast.identity." + purpose.encode()
            self._keys[purpose] = hmac.digest(self._secret, label, sha256)
        return self._keys[purpose]

    def sign(self, purpose: str, *parts: bytes) -> bytes:
        """A keyed hash of the parts, which cannot be mistaken for any other split of them."""
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self.key(purpose), framed, sha256)
