"""Google, GitHub and Kakao as one local server: as strict as they are, until it is told to misbehave.

It lets in the client that it knows, sends browsers to registered addresses only, binds each code to
its PKCE challenge and redeems it once, signs ID tokens with its own keys, and speaks each provider's
dialect: GitHub answers errors with 200, Kakao numbers its users, Google sends `iss` along.
"""

import asyncio
import hmac
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from joserfc import jws
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "the-client", "the-client-secret"
AUTHORIZE = {
    "google": "/o/oauth2/v2/auth",
    "github": "/login/oauth/authorize",
    "kakao": "/oauth/authorize",
}
TOKEN = {"google": "/token", "github": "/login/oauth/access_token", "kakao": "/oauth/token"}
KEYS = {"google": "/oauth2/v3/certs", "kakao": "/.well-known/jwks.json"}


def _new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"alg": "RS256", "use": "sig"}, auto_kid=True)


FIRST_KEY = _new_key()


@dataclass
class Person:
    """Who sits before the browser, and has an account there."""

    id: int
    email: str | None
    verified: bool = True
    valid: bool = True  # Kakao's: the address belongs to no other account since


@dataclass(frozen=True)
class Code:
    kind: str
    person: Person
    redirect_uri: str
    challenge: str
    nonce: str


@dataclass
class Misbehaviour:
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    signs_with: RSAKey | None = None
    id_token: str | None = None
    answers: dict[str, Response] = field(default_factory=dict)  # by what is asked for
    stalls: asyncio.Event | None = None


@dataclass
class Provider:
    origin: str
    url: str = ""
    person: Person = field(default_factory=lambda: Person(1, "ada@example.com"))
    odd: Misbehaviour = field(default_factory=Misbehaviour)
    asked: list[str] = field(default_factory=list)
    keys: list[RSAKey] = field(default_factory=lambda: [FIRST_KEY])
    codes: dict[str, Code] = field(default_factory=dict)
    bearers: dict[str, Person] = field(default_factory=dict)

    def rotate(self) -> None:
        """A new key signs; the one before is not published any more."""
        self.keys = [_new_key()]

    @property
    def app(self) -> FastAPI:
        app = FastAPI()
        add = app.add_api_route
        for kind, path in AUTHORIZE.items():
            add(f"/{kind}{path}", self._of(kind, self.authorize), methods=["GET"])
        for kind, path in TOKEN.items():
            add(f"/{kind}{path}", self._of(kind, self.redeem), methods=["POST"])
        for kind, path in KEYS.items():
            add(f"/{kind}{path}", self._of(kind, self.publish), methods=["GET"])
        add("/github/api/v3/user", self._of("github", self.show_github), methods=["GET"])
        add("/github/api/v3/user/emails", self._of("github", self.list_emails), methods=["GET"])
        add("/kakao/v2/user/me", self._of("kakao", self.show_kakao), methods=["GET"])
        return app

    def _of(self, kind: str, handle: Any) -> Any:
        async def answer(request: Request) -> Response:
            self.asked.append(handle.__name__)
            if handle.__name__ in self.odd.answers:
                return self.odd.answers[handle.__name__]
            if self.odd.stalls:
                await self.odd.stalls.wait()
            told: Response = await handle(kind, request)
            return told

        return answer

    def issuer(self, kind: str) -> str:
        return f"{self.url}/{kind}" + ("/login/oauth" if kind == "github" else "")

    async def authorize(self, kind: str, request: Request) -> Response:
        asked = request.query_params
        redirect_uri = asked["redirect_uri"]
        if asked["client_id"] != CLIENT_ID or redirect_uri != self._registered(kind):
            raise HTTPException(400, "This client is not known, or not at this address.")
        if asked["response_type"] != "code" or asked["code_challenge_method"] != "S256":
            raise HTTPException(400, "Only the code flow with S256 is served here.")
        code = token_urlsafe(16)
        nonce = asked.get("nonce", "")
        self.codes[code] = Code(kind, self.person, redirect_uri, asked["code_challenge"], nonce)
        told = {"code": code, "state": asked["state"]}
        if kind != "kakao":
            told["iss"] = self.issuer(kind)
        return RedirectResponse(f"{redirect_uri}?{urlencode(told)}", status_code=302)

    async def redeem(self, kind: str, request: Request) -> Response:
        form = await request.form()
        if form["client_id"] != CLIENT_ID or form["client_secret"] != CLIENT_SECRET:
            return _refusal(kind, "invalid_client", 401)
        code = self.codes.pop(str(form["code"]), None)
        verifier = str(form.get("code_verifier", ""))
        right = (
            code is not None
            and form["grant_type"] == "authorization_code"
            and (code.kind, code.redirect_uri) == (kind, form["redirect_uri"])
            and hmac.compare_digest(code.challenge, s256(verifier))
        )
        if code is None or not right:
            return _refusal(kind, "invalid_grant", 400)
        bearer = token_urlsafe(16)
        self.bearers[bearer] = code.person
        told = {"access_token": bearer, "token_type": "bearer"}
        if kind != "github":
            told["id_token"] = self.odd.id_token or self.id_token(kind, code.person, code.nonce)
        elif request.headers["accept"] != "application/json":
            return PlainTextResponse(urlencode(told))
        return JSONResponse(told)

    def id_token(self, kind: str, person: Person, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer(kind),
            "aud": CLIENT_ID,
            "sub": str(person.id),
            "iat": now,
            "exp": now + 3600,
            "nonce": nonce,
        }
        if kind == "google":
            claims |= {
                "azp": CLIENT_ID,
                "email": person.email,
                "email_verified": person.verified,
            }
        claims |= self.odd.claims
        key = self.odd.signs_with or self.keys[0]
        header = {"alg": "RS256", "typ": "JWT", "kid": self.keys[0].kid, **self.odd.header}
        payload = JSONResponse({k: v for k, v in claims.items() if v is not None}).body
        return jws.serialize_compact(header, bytes(payload), key, algorithms=["RS256"])

    async def publish(self, _kind: str, _request: Request) -> Response:
        keys = [key.as_dict(private=False) for key in self.keys]
        return JSONResponse({"keys": keys}, headers={"Cache-Control": "public, max-age=19800"})

    async def show_github(self, _kind: str, request: Request) -> Response:
        person = self._bearer(request)
        return JSONResponse({"id": person.id, "login": "ada", "email": None})

    async def list_emails(self, _kind: str, request: Request) -> Response:
        person = self._bearer(request)
        other = {"email": "other@example.com", "primary": False, "verified": True}
        primary = {"email": person.email, "primary": True, "verified": person.verified}
        return JSONResponse([other, primary] if person.email else [other])

    async def show_kakao(self, _kind: str, request: Request) -> Response:
        person = self._bearer(request)
        account = {
            "email": person.email,
            "is_email_valid": person.valid,
            "is_email_verified": person.verified,
        }
        return JSONResponse({"id": person.id, "kakao_account": account if person.email else {}})

    def _bearer(self, request: Request) -> Person:
        if not request.headers.get("user-agent"):
            raise HTTPException(403, "Say who you are.")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if bearer not in self.bearers:
            raise HTTPException(401, "This token is not known.")
        return self.bearers[bearer]

    def _registered(self, kind: str) -> str:
        return f"{self.origin}/auth/social/{kind}/callback"


def _refusal(kind: str, error: str, status: int) -> Response:
    return JSONResponse({"error": error}, status_code=200 if kind == "github" else status)


def s256(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
