"""What we say of ourselves, and whether a code is presented rightly. Pure."""

from collections.abc import Collection
from typing import Any

from holdfast.apps.identity.authorization.rules import PROMPTS, fits
from holdfast.apps.identity.authorization.schemas import Code
from holdfast.apps.identity.clients.rules import OPENID_SCOPES

PROOFS = ["client_secret_basic", "client_secret_post"]
CLAIMS = [
    *("sub", "name", "locale", "email", "email_verified"),
    *("iss", "aud", "exp", "iat", "auth_time", "nonce", "amr", "sid"),
]


def discovery(origin: str, algorithms: Collection[str]) -> dict[str, Any]:
    """Only what is true of this service (OpenID Discovery, RFC 8414)."""
    return {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/oauth/authorize",
        "token_endpoint": f"{origin}/oauth/token",
        "userinfo_endpoint": f"{origin}/oauth/userinfo",
        "end_session_endpoint": f"{origin}/oauth/logout",
        "introspection_endpoint": f"{origin}/api/v1/auth/introspect",
        "revocation_endpoint": f"{origin}/api/v1/auth/revoke",
        "jwks_uri": f"{origin}/.well-known/jwks.json",
        "scopes_supported": OPENID_SCOPES,
        "claims_supported": CLAIMS,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted(set(algorithms)),
        "token_endpoint_auth_methods_supported": [*PROOFS, "none"],
        "revocation_endpoint_auth_methods_supported": [*PROOFS, "none"],
        "introspection_endpoint_auth_methods_supported": PROOFS,
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": sorted(PROMPTS),
        "authorization_response_iss_parameter_supported": True,
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def is_presented_rightly(code: Code, client_id: str, *, redirect_uri: str, verifier: str) -> bool:
    """Whether it comes from the client that asked for it, as it asked for it."""
    return (
        code.client_id == client_id
        and code.redirect_uri == redirect_uri
        and fits(verifier, code.challenge)
    )
