"""OAuth clients as pure values: where they may be sent back to, and how they prove themselves."""

import re
from collections.abc import Collection, Iterable
from hmac import compare_digest
from secrets import token_hex, token_urlsafe
from urllib.parse import SplitResult, urlsplit

from holdfast.apps.identity.oauth import CLIENT_ID
from holdfast.apps.identity.secrets import Secrets
from holdfast.core.errors import InvalidError

OPENID_SCOPES = ("openid", "profile", "email", "offline_access")
SECRET_BYTES = 32
LOOPBACK = {"127.0.0.1", "::1"}
PRINTABLE = re.compile(r"[!-~]+")


def make_client_id() -> str:
    return token_hex(10)


def make_secret() -> str:
    return "hfc_" + token_urlsafe(SECRET_BYTES)


def hash_secret(client_id: str, secret: str, secrets: Secrets) -> bytes:
    """What the database keeps of a secret: it is as long as a key, so one keyed hash is enough."""
    return secrets.sign("client secret", client_id.encode(), secret.encode())


def proves(kept: bytes | None, client_id: str, secret: str | None, secrets: Secrets) -> bool:
    """Whether this is the client: by its secret, or by none where it can keep none."""
    if kept is None or secret is None:
        return kept is None and secret is None
    return compare_digest(kept, hash_secret(client_id, secret, secrets))


def is_client_id(text: str) -> bool:
    return re.fullmatch(CLIENT_ID, text) is not None


def permissions_among(scopes: Iterable[str]) -> list[str]:
    """The scopes that are permissions: what the client may do when it calls by itself."""
    return sorted({scope for scope in scopes if ":" in scope})


def require_scopes(scopes: Iterable[str]) -> None:
    unknown = sorted(
        scope for scope in set(scopes) if ":" not in scope and scope not in OPENID_SCOPES
    )
    if unknown:
        raise InvalidError(("scopes", f"there is no {', '.join(unknown)}"))


def require_addresses(field: str, addresses: Iterable[str]) -> None:
    """Refuse where nobody should be sent: not encrypted, not a host, or what a browser executes."""
    for address in addresses:
        if fault := _fault_of(address):
            raise InvalidError((field, f"{address}: {fault}"))


def _fault_of(address: str) -> str | None:
    parts = _split(address)
    if parts is None:
        return "is not an address, or has a fragment"
    if parts.scheme not in {"https", "http"}:
        return None if "." in parts.scheme else "an app's scheme has a dot: com.example.app:/back"
    if not parts.hostname or "@" in parts.netloc:
        return "needs a host, and no user"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK | {"localhost"}:
        return "must be https; http is for loopback only"
    return None


def leads_back(registered: Collection[str], address: str, *, any_port: bool) -> bool:
    """Whether an answer may be sent there: exactly as registered, but for an app's own port.

    An app without a secret listens on a loopback port that the system gave it (RFC 8252 7.3).
    """
    if address in registered:
        return True
    portless = _without_port(address) if any_port else None
    return portless is not None and any(_without_port(known) == portless for known in registered)


def _without_port(address: str) -> str | None:
    """A loopback address without its port; nothing for any other."""
    parts = _split(address)
    if parts is None or parts.scheme != "http" or parts.hostname not in LOOPBACK:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.netloc not in {host, f"{host}:{parts.port}"}:
        return None
    return parts._replace(netloc=host).geturl()


def _split(address: str) -> SplitResult | None:
    """The parts of an address that has nothing in it which readers understand differently."""
    if not PRINTABLE.fullmatch(address) or "\\" in address or "#" in address:
        return None
    try:
        parts = urlsplit(address)
        _ = parts.port  # not a number, or none that a port can have
    except ValueError:
        return None
    return parts if parts.scheme else None
