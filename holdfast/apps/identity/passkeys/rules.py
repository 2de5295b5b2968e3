"""Passkeys as WebAuthn has them: what a browser is asked for, and whether its answer is genuine.

A passkey is resident and its user verified, by a finger or a PIN: it is two factors at once. Who made
the authenticator is neither asked nor believed.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    encode_cbor,
    options_to_json_dict,
    parse_cbor,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

NAME = "Holdfast"
BROWSER_WAITS_MS = 300_000
# What the library may stumble over when it reads what somebody has made up.
ODD = (
    *(WebAuthnException, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError),
)


class Site(NamedTuple):
    """Where a passkey is good: it is bound to the host, and browsers tell the origin."""

    host: str
    origin: str


class Known(Protocol):
    @property
    def credential_id(self) -> bytes: ...
    @property
    def transports(self) -> Iterable[str]: ...


class Registered(NamedTuple):
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    backed_up: bool


class Asserted(NamedTuple):
    sign_count: int
    backed_up: bool
    amr: tuple[str, ...]


def site_of(origin: str) -> Site | None:
    """None for an address: WebAuthn knows names only."""
    host = urlsplit(origin).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return Site(host, origin)
    return None


def creation_options(
    site: Site, challenge: bytes, user_id: bytes, email: str, known: Iterable[Known]
) -> dict[str, Any]:
    return options_to_json_dict(
        generate_registration_options(
            rp_id=site.host,
            rp_name=NAME,
            user_id=user_id,
            user_name=email,
            challenge=challenge,
            timeout=BROWSER_WAITS_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(known),
        )
    )


def request_options(site: Site, challenge: bytes, known: Iterable[Known] = ()) -> dict[str, Any]:
    return options_to_json_dict(
        generate_authentication_options(
            rp_id=site.host,
            challenge=challenge,
            timeout=BROWSER_WAITS_MS,
            allow_credentials=_descriptors(known),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
    )


def read_registration(
    credential: Mapping[str, Any], challenge: bytes, site: Site
) -> Registered | None:
    """A new passkey, unless this is no genuine answer to the challenge."""
    try:
        parsed = parse_registration_credential_json(dict(credential))
        attestation = parse_cbor(parsed.response.attestation_object)
        parsed.response.attestation_object = encode_cbor(
            {"fmt": "none", "attStmt": {}, "authData": attestation["authData"]}
        )
        verified = verify_registration_response(
            credential=parsed,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=True,
        )
        if verified.credential_id != parsed.raw_id:
            return None
        # A key that cannot be used is refused now, and not at the first sign-in.
        decoded_public_key_to_cryptography(
            decode_credential_public_key(verified.credential_public_key)
        )
    except ODD:
        return None
    return Registered(
        verified.credential_id,
        verified.credential_public_key,
        verified.sign_count,
        [transport.value for transport in parsed.response.transports or ()],
        verified.credential_backed_up,
    )


def credential_id_of(credential: Mapping[str, Any]) -> bytes:
    try:
        return base64url_to_bytes(credential["rawId"])
    except ODD:
        return b""


def read_assertion(
    credential: Mapping[str, Any], challenge: bytes, site: Site, public_key: bytes, user_id: bytes
) -> Asserted | None:
    """What the passkey with this key says, unless this is no genuine answer to the challenge."""
    try:
        handle = credential["response"].get("userHandle")
        if handle is not None and base64url_to_bytes(handle) != user_id:
            return None
        verified = verify_authentication_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,  # compared where it is stored, in one statement
            require_user_verification=True,
        )
    except ODD:
        return None
    bound = verified.credential_device_type is CredentialDeviceType.SINGLE_DEVICE
    return Asserted(
        verified.new_sign_count,
        verified.credential_backed_up,
        ("hwk" if bound else "swk", "user", "mfa"),  # RFC 8176; a key that travels is software
    )


def _descriptors(known: Iterable[Known]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=each.credential_id,
            transports=[AuthenticatorTransport(transport) for transport in each.transports],
        )
        for each in known
    ]
