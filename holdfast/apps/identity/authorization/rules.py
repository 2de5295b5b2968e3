"""What a client asks of a person's browser, and which step comes next. Pure.

Only the code flow with PKCE (S256) is spoken; what is left out is said to be (`..._not_supported`).
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple
from urllib.parse import urlencode

from holdfast.apps.identity.clients.rules import OPENID_SCOPES
from holdfast.apps.identity.oauth import OAuthError

PROMPTS = {"none", "login", "consent"}
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
SECONDS = re.compile(r"[0-9]{1,9}")
LONGEST_NONCE = 512
NOT_SPOKEN = {
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}


class Ask(NamedTuple):
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    nonce: str | None
    prompts: frozenset[str]
    max_age_s: int | None


class Step(Enum):
    SIGN_IN = auto()
    PROVE = auto()  # once more, that it is still them
    CONSENT = auto()
    ANSWER = auto()


def read_ask(told: Mapping[str, str], registered: frozenset[str]) -> Ask:
    """What the client asks for; refuses what it may not, or what is not spoken here."""
    for name, error in NOT_SPOKEN.items():
        if name in told:
            raise OAuthError(error, f"{name} is not spoken here.")
    if told.get("response_type", "code") != "code":
        raise OAuthError("unsupported_response_type", "The only response_type is code.")
    _require("response_type" in told, "Say which response_type: code.")
    _require(told.get("response_mode", "query") == "query", "The only response_mode is query.")
    challenge, nonce = told.get("code_challenge", ""), told.get("nonce")
    _require(
        told.get("code_challenge_method") == "S256" and bool(CHALLENGE.fullmatch(challenge)),
        "PKCE is required: send a code_challenge, and code_challenge_method=S256.",
    )
    _require(len(nonce or "") <= LONGEST_NONCE, f"A nonce has at most {LONGEST_NONCE} characters.")
    prompts = frozenset(told.get("prompt", "").split())
    _require(prompts <= PROMPTS, "A prompt is none, login or consent.")
    _require("none" not in prompts or len(prompts) == 1, "prompt=none goes with no other.")
    max_age = told.get("max_age")
    _require(max_age is None or bool(SECONDS.fullmatch(max_age)), "max_age is a number of seconds.")
    return Ask(
        redirect_uri=told["redirect_uri"],
        scopes=_scopes(told, registered),
        challenge=challenge,
        nonce=nonce,
        prompts=prompts,
        max_age_s=int(max_age) if max_age else None,
    )


def _scopes(told: Mapping[str, str], registered: frozenset[str]) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(told.get("scope", "").split()))
    if not scopes or not registered & set(OPENID_SCOPES) >= set(scopes):
        raise OAuthError("invalid_scope", "Ask for scopes that this client is registered for.")
    return scopes


def _require(met: bool, sentence: str) -> None:  # noqa: FBT001 - what is required
    if not met:
        raise OAuthError("invalid_request", sentence)


def next_step(ask: Ask, *, proved_at: datetime | None, agreed: bool, now: datetime) -> Step:
    """What is to be done before the client is answered; refuses if it must not be asked for."""
    silent = "none" in ask.prompts
    if proved_at is None or _is_stale(ask, proved_at, now):
        if silent:
            raise OAuthError("login_required", "Nobody is signed in here, or not lately enough.")
        return Step.PROVE if proved_at else Step.SIGN_IN
    if not agreed or "consent" in ask.prompts:
        if silent:
            raise OAuthError("consent_required", "The person has not agreed to this yet.")
        return Step.CONSENT
    return Step.ANSWER


def _is_stale(ask: Ask, proved_at: datetime, now: datetime) -> bool:
    too_old = ask.max_age_s is not None and (now - proved_at).total_seconds() > ask.max_age_s
    return too_old or "login" in ask.prompts


def once_proved(told: Mapping[str, str]) -> dict[str, str]:
    """The same request for whoever has just signed in: so that it does not demand it for ever.

    Whoever leaves out the proof changes nothing but their own browser's request, which they could
    have done anyway; the client reads `auth_time`.
    """
    prompts = [prompt for prompt in told.get("prompt", "").split() if prompt != "login"]
    kept = {name: value for name, value in told.items() if name != "prompt"}
    if kept.get("max_age") == "0":
        del kept["max_age"]
    return kept | ({"prompt": " ".join(prompts)} if prompts else {})


def answer_address(redirect_uri: str, **told: str | None) -> str:
    """The client's address with our answer in its query."""
    query = urlencode({name: value for name, value in told.items() if value is not None})
    if not query:
        return redirect_uri
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}"


def fits(verifier: str, challenge: str) -> bool:
    """Whether the one who exchanges a code is the one who asked for it (RFC 7636)."""
    if not VERIFIER.fullmatch(verifier):
        return False
    digest = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    return compare_digest(digest, challenge)
