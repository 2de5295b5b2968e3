"""Signing keys as pure values: made, sealed for the database, and chosen by time."""

import os
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import Key, OKPKey, RSAKey

from holdfast.core.settings import SettingsError

NONCE_BYTES = 12


class Scheduled(Protocol):
    @property
    def signs_from(self) -> datetime: ...


class SealError(SettingsError):
    """A signing key cannot be opened: HOLDFAST_SECRET is not the one that it was sealed with."""


def make_key(alg: str) -> Key:
    if alg == "RS256":
        return RSAKey.generate_key(2048, {"alg": alg, "use": "sig"}, auto_kid=True)
    return OKPKey.generate_key("Ed25519", {"alg": alg, "use": "sig"}, auto_kid=True)


def seal(key: Key, secret: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    private = msgspec.json.encode(key.as_dict(private=True))
    return nonce + AESGCM(secret).encrypt(nonce, private, key.kid.encode() if key.kid else None)


def unseal(sealed: bytes, kid: str, secret: bytes) -> dict[str, Any]:
    nonce, private = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        opened = AESGCM(secret).decrypt(nonce, private, kid.encode())
    except Exception as error:
        raise SealError(
            f"HOLDFAST_SECRET is not the one that signing key {kid} was sealed with."
            " Start with the former one. If it is lost, empty identity.signing_keys:"
            " new keys are made, and everybody signs in again."
        ) from error
    return msgspec.json.decode(opened, type=dict[str, Any])


def signing_now(keys: Sequence[Scheduled], now: datetime) -> int | None:
    """Which key signs at this time: the newest whose time has come."""
    due = [i for i, key in enumerate(keys) if key.signs_from <= now]
    return max(due, key=lambda i: keys[i].signs_from, default=None)


def half_hash(text: str) -> str:
    """The left half of a text's hash, beside a signature by RS256 (OpenID 3.1.3.6)."""
    digest = sha256(text.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")
