"""Whose account somebody enters who comes from a provider, and what a provider's word is worth.

The danger is an account that belongs to two: whoever registers a stranger's address here, or shows
a stranger's address there, must not meet its owner in one account. So an account and a provider are
joined without its owner's doing only if both have seen mail arrive at the address, and never past
a second factor.
"""

import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from holdfast.apps.identity.social.schemas import Profile
from holdfast.core.errors import ConflictError, ForbiddenError, UnauthenticatedError

LONGEST_SUBJECT = 255


class Local(Protocol):
    """An account here, with what the decision rests on."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def verified(self) -> bool: ...
    @property
    def second_factor(self) -> bool: ...
    @property
    def banned(self) -> bool: ...
    @property
    def linked(self) -> bool: ...  # with another account at the same provider


class Enter(NamedTuple):
    user_id: UUID


class Link(NamedTuple):
    user_id: UUID


class Register(NamedTuple):
    email: str


def decide_entry(
    profile: Profile, *, owner: UUID | None, local: Local | None
) -> Enter | Link | Register:
    """For a sign-in: `owner` has this link already, `local` has the same address."""
    if owner:
        return Enter(owner)
    if profile.email is None or not profile.email_verified:
        raise ProviderEmailError
    if local is None:
        return Register(profile.email)
    if local.banned:
        return Enter(local.user_id)  # where it is refused, and nothing is linked
    if not local.verified or local.second_factor:
        raise LinkFirstError
    if local.linked:
        raise AlreadyLinkedError
    return Link(local.user_id)


def decide_link(*, owner: UUID | None, linking: Local) -> Enter | Link:
    """For somebody signed in who wants the link; addresses need not be the same."""
    if owner == linking.user_id:
        return Enter(owner)
    if owner:
        raise LinkedElsewhereError
    if linking.linked:
        raise AlreadyLinkedError
    return Link(linking.user_id)


class IdToken(msgspec.Struct, frozen=True):
    """The claims of an ID token (OpenID Connect Core 1.0) that are looked at."""

    iss: str
    aud: str | Sequence[str]
    sub: str
    exp: float
    nonce: str = ""
    azp: str | None = None
    email: str | None = None
    email_verified: bool = False


def check_id_token(token: IdToken, *, issuer: str, client_id: str, nonce: str) -> None:
    """Refuse what was not made by this issuer, for us, for this very sign-in."""
    for_us = token.aud in (client_id, [client_id]) and token.azp in (client_id, None)
    in_time = token.exp > time.time()
    asked_for = compare_digest(token.nonce.encode(), nonce.encode())
    readable = 0 < len(token.sub) <= LONGEST_SUBJECT and token.sub.isprintable()
    if not (token.iss == issuer and for_us and in_time and asked_for and readable):
        raise ProviderRefusedError


def challenge_of(verifier: str) -> str:
    """RFC 7636, S256."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


class ProviderEmailError(ForbiddenError):
    sentence = (
        "The provider does not confirm an e-mail address of yours."
        " Verify your address there and allow us to see it, then try again."
    )


class LinkFirstError(ForbiddenError):
    sentence = (
        "There is an account with this e-mail address already. Sign in to it first"
        " (reset its password by mail if you do not know it), then link the provider there."
    )


class AlreadyLinkedError(ConflictError):
    sentence = (
        "Your account is linked with another account of this provider. Unlink that one first."
    )


class LinkedElsewhereError(ConflictError):
    sentence = "This account of the provider is linked with another account here."


class ProviderRefusedError(UnauthenticatedError):
    sentence = "The provider did not confirm who you are. Begin again."
