"""Codes as pure values: what an authenticator app shows at a time, and recovery codes on paper."""

import os
import re
from base64 import b32encode
from hmac import compare_digest
from secrets import choice
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from holdfast.apps.identity.secrets import Secrets

ISSUER = "Holdfast"
SECRET_BYTES = 20
DIGITS, STEP_S = 6, 30  # what every authenticator app understands
STEPS_BEHIND, STEPS_AHEAD = 1, 1
NONCE_BYTES = 12

RECOVERY_CODES = 10
LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # nobody mistakes one for another; 5 bits each
GROUPS, GROUP_LETTERS = 4, 4


def make_secret() -> bytes:
    return os.urandom(SECRET_BYTES)


def readable(secret: bytes) -> str:
    """What is typed into an app that cannot scan."""
    return b32encode(secret).decode()


def uri(secret: bytes, email: str) -> str:
    """What the picture says that an app scans."""
    return _totp(secret).get_provisioning_uri(email, ISSUER)


def matching_step(secret: bytes, code: str, now_s: float) -> int | None:
    """The step of time at which the app shows this code, unless it is too long ago or to come."""
    step = int(now_s) // STEP_S
    near = range(step - STEPS_BEHIND, step + STEPS_AHEAD + 1)
    shown = {each: _totp(secret).generate(each * STEP_S) for each in near}
    return max((each for each in near if compare_digest(shown[each], code.encode())), default=None)


def seal(secret: bytes, user_id: UUID, secrets: Secrets) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(secrets.key("totp secrets")).encrypt(nonce, secret, user_id.bytes)


def unseal(sealed: bytes, user_id: UUID, secrets: Secrets) -> bytes:
    nonce, hidden = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return AESGCM(secrets.key("totp secrets")).decrypt(nonce, hidden, user_id.bytes)
    except InvalidTag as error:
        raise SealedOtherwiseError(
            f"HOLDFAST_SECRET is not the one that the authenticator app of user {user_id} was sealed"
            " with. Start with the former one. If it is lost, delete the user's row in"
            " identity.totp_secrets: the password alone signs in then, and a new app can be added."
        ) from error


def make_recovery_codes() -> list[str]:
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def recovery_hash(code: str, user_id: UUID, secrets: Secrets) -> bytes:
    """What the database knows of a recovery code."""
    return secrets.sign("recovery code", user_id.bytes, plain(code).encode())


def plain(code: str) -> str:
    """A code without what people add to read and write it."""
    return re.sub(r"[\s-]", "", code).upper()


def is_shown_by_an_app(code: str) -> bool:
    return re.fullmatch(f"[0-9]{{{DIGITS}}}", code) is not None


class SealedOtherwiseError(Exception):
    """A secret in the database cannot be opened: the operator has changed HOLDFAST_SECRET."""


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_S)  # noqa: S303 - as RFC 6238 and every app have it


def _recovery_code() -> str:
    return "-".join("".join(choice(LETTERS) for _ in range(GROUP_LETTERS)) for _ in range(GROUPS))
