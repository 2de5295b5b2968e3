"""Whoever issues tokens, as a service behind it sees them: public keys, and who somebody is.

It keeps to identity's contract (a key set, RFC 9068 tokens, `GET /users/me`), so that a service can
be tested alone and with a thousand customers; the journeys in `tests/` are made with the real one.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Literal
from uuid import UUID, uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeyParameters, OKPKey, RSAKey

AUDIENCE = "holdfast"

Algorithm = Literal["Ed25519", "RS256"]


class Issuer:
    def __init__(self, url: str, alg: Algorithm) -> None:
        self.url = url
        self.permissions: dict[UUID, list[str]] = {}
        self._alg = alg
        self._key = _make_key(alg)

    def token(
        self,
        person: UUID | None = None,
        *permissions: str,
        lives_s: int = 900,
        audience: str = AUDIENCE,
    ) -> str:
        """An access token; of somebody new if it is not said whose."""
        sub = person or uuid4()
        if permissions:
            self.permissions[sub] = list(permissions)
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": audience,
            "sub": str(sub),
            "sid": str(uuid4()),
            "jti": str(uuid4()),
            "client_id": "holdfast",
            "iat": now,
            "exp": now + lives_s,
            "auth_time": now,
        }
        header = {"alg": self._alg, "kid": "one", "typ": "at+jwt"}
        return jwt.encode(header, claims, self._key, algorithms=[self._alg])

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        if path == "/.well-known/jwks.json":
            return 200, {"keys": [self._key.as_dict(private=False)]}
        if path != "/api/v1/users/me":
            return 404, {}
        try:
            token = jwt.decode(authorization.removeprefix("Bearer "), self._key, [self._alg])
        except (ValueError, JoseError):
            return 401, {}
        person = UUID(token.claims["sub"])
        known = {"id": str(person), "permissions": self.permissions.get(person, [])}
        return 200, {"data": known}


class _Server(ThreadingHTTPServer):
    request_queue_size = 1_000  # of five, whoever comes in a crowd is heard a second late


def _make_key(alg: Algorithm) -> OKPKey | RSAKey:
    told: KeyParameters = {"alg": alg, "use": "sig", "kid": "one"}
    if alg == "RS256":
        return RSAKey.generate_key(2048, told)
    return OKPKey.generate_key("Ed25519", told)


@contextmanager
def issuing(alg: Algorithm = "Ed25519") -> Iterator[Issuer]:
    """An issuer in a thread of its own, so that it answers whatever a test's loop does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, told = issuer.answer(self.path, self.headers.get("Authorization", ""))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    with _Server(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}", alg)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
