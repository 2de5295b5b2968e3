"""An authenticator made of software: what a phone and its browser answer, and all that they should not."""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, COPYABLE, COPIED, WITH_KEY = 1, 4, 8, 16, 64
USUAL = PRESENT | VERIFIED
ORIGIN = "http://localhost:8000"


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One passkey. It counts its uses, as a security key does; a copied one need not."""

    origin: str = ORIGIN
    counts: bool = True
    flags: int = USUAL
    sign_count: int = 0
    handle: bytes = b""
    id: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def public_key(self) -> bytes:
        point = self.key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)})

    def create(self, options: dict[str, Any], **client_data: Any) -> dict[str, Any]:
        """What `navigator.credentials.create` answers."""
        self.handle = decoded(options["user"]["id"])
        told = self._data(options["rp"]["id"], self.flags | WITH_KEY)
        told += bytes(16) + len(self.id).to_bytes(2) + self.id + self.public_key
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": told})
        told_by_browser = self._client_data("webauthn.create", options, client_data)
        return self._credential(
            clientDataJSON=encoded(told_by_browser),
            attestationObject=encoded(attestation),
            transports=["internal", "hybrid", "by a transport of the future"],
        )

    def get(self, options: dict[str, Any], **client_data: Any) -> dict[str, Any]:
        """What `navigator.credentials.get` answers."""
        told = self._data(options["rpId"], self.flags)
        told_by_browser = self._client_data("webauthn.get", options, client_data)
        signed = told + sha256(told_by_browser).digest()
        return self._credential(
            clientDataJSON=encoded(told_by_browser),
            authenticatorData=encoded(told),
            signature=encoded(self.key.sign(signed, ec.ECDSA(SHA256()))),
            userHandle=encoded(self.handle),
        )

    def _data(self, rp_id: str, flags: int) -> bytes:
        self.sign_count += self.counts
        return sha256(rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4)

    def _client_data(self, kind: str, options: dict[str, Any], other: dict[str, Any]) -> bytes:
        told = {"type": kind, "challenge": options["challenge"], "origin": self.origin, **other}
        return json.dumps(told).encode()

    def _credential(self, **response: Any) -> dict[str, Any]:
        return {
            "id": encoded(self.id),
            "rawId": encoded(self.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": True}},
            "response": response,
        }
