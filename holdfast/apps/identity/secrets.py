"""What is derived from HOLDFAST_SECRET: one independent key for each purpose."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

MARK_BYTES = 16


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

    def write(self, prefix: str, purpose: str, body: bytes) -> str:
        """A token's text: its content with a mark, so that an invented one costs no question."""
        marked = body + self.sign(purpose, body)[:MARK_BYTES]
        return prefix + urlsafe_b64encode(marked).decode().rstrip("=")

    def read(self, prefix: str, purpose: str, text: str) -> bytes | None:
        """The content of a token that `write` has written for this purpose."""
        encoded = text.removeprefix(prefix)
        try:
            body = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))[:-MARK_BYTES]
        except ValueError:
            return None
        # The whole text is compared, so that no other spelling of a token is accepted.
        genuine = self.write(prefix, purpose, body)
        return body if hmac.compare_digest(genuine.encode(), text.encode()) else None
