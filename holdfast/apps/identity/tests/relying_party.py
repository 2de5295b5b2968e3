"""A service that signs its users in here, and the browser that it sends here and back."""

from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from holdfast.apps.identity.tests.api import Account, Answer, Api

BACK = "https://wiki.example/back"
VERIFIER = "a verifier is some random text of 43 to 128".replace(" ", "-")
FORM = "application/x-www-form-urlencoded"
CLIENTS = "/api/v1/admin/clients"


def challenge_of(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def basic(client_id: str, secret: str) -> dict[str, str]:
    proof = b64encode(f"{quote(client_id)}:{quote(secret)}".encode()).decode()
    return {"Authorization": f"Basic {proof}"}


async def send_form(
    api: Api, path: str, told: dict[str, str], headers: dict[str, str] | None = None
) -> Answer:
    return await api.call(
        "POST",
        path,
        data=urlencode(told).encode(),
        headers={"Content-Type": FORM, **(headers or {})},
    )


class Page(NamedTuple):
    status: int
    location: str
    text: str
    headers: Any


@dataclass
class Browser:
    """It keeps cookies, and says where a form comes from; it follows nothing by itself."""

    api: Api
    origin: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, address: str) -> Page:
        return await self._ask("GET", address)

    async def post(self, address: str, **form: str) -> Page:
        return await self._ask("POST", address, form)

    async def sign_in(self, account: Account) -> None:
        page = await self.post("/sign-in", email=account.email, password=account.password)
        assert page.status == 303, page.text

    async def _ask(self, method: str, address: str, form: dict[str, str] | None = None) -> Page:
        headers = {
            "Host": urlsplit(self.origin).netloc,
            "Origin": self.origin,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        async with self.api.http.request(
            method, self.api.url + address, data=form, headers=headers, allow_redirects=False
        ) as answer:
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
                    if morsel["max-age"] == "0":
                        del self.cookies[name]
            return Page(
                answer.status,
                answer.headers.get("Location", ""),
                await answer.text(),
                answer.headers,
            )


@dataclass
class RelyingParty:
    api: Api
    browser: Browser
    id: str
    secret: str | None
    redirect_uri: str = BACK
    service_user: str | None = None

    @classmethod
    async def made(
        cls, api: Api, admin: Account, browser: Browser, **wanted: Any
    ) -> "RelyingParty":
        body: dict[str, Any] = {
            "name": "Wiki",
            "redirect_uris": [BACK],
            "logout_uris": ["https://wiki.example/bye"],
            "scopes": ["openid", "profile", "email", "offline_access"],
            "trusted": True,
        } | wanted
        answer = await api.call("POST", CLIENTS, body, token=admin.access)
        assert answer.status == 201, answer.body
        made = answer.data
        return cls(
            api,
            browser,
            made["client_id"],
            made["client_secret"],
            (body["redirect_uris"] or [BACK])[0],
            made["service_user_id"],
        )

    def asking(self, **changed: str | None) -> str:
        """The query of a request for a sign-in."""
        asked = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid profile email offline_access",
            "state": "a state",
            "nonce": "a nonce",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        } | changed
        return urlencode({name: value for name, value in asked.items() if value is not None})

    async def ask(self, **changed: str | None) -> dict[str, str]:
        """Send the browser; what the redirect back tells."""
        page = await self.browser.get(f"/oauth/authorize?{self.asking(**changed)}")
        assert page.status == 303, page.text
        return self.told_by(page.location)

    def told_by(self, address: str) -> dict[str, str]:
        there, _, query = address.partition("?")
        assert there == self.redirect_uri, address
        return dict(parse_qsl(query))

    async def code(self, **changed: str | None) -> str:
        told = await self.ask(**changed)
        assert "code" in told, told
        return told["code"]

    async def exchange(self, code: str, /, *, api: Api | None = None, **changed: Any) -> Answer:
        told = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": VERIFIER,
        } | changed
        return await self.send("/oauth/token", told, api=api)

    async def tokens(self, **changed: str | None) -> dict[str, Any]:
        answer = await self.exchange(await self.code(**changed))
        assert answer.status == 200, answer.body
        tokens: dict[str, Any] = answer.body
        return tokens

    async def refresh(self, refresh_token: str, *, api: Api | None = None) -> Answer:
        told = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.send("/oauth/token", told, api=api)

    async def act(self, scope: str = "", *, api: Api | None = None) -> Answer:
        """A token for the client itself."""
        told = {"grant_type": "client_credentials", "scope": scope}
        return await self.send("/oauth/token", told, api=api)

    async def introspect(self, token: str, *, api: Api | None = None) -> Any:
        answer = await self.send("/api/v1/auth/introspect", {"token": token}, api=api)
        assert answer.status == 200, answer.body
        return answer.body

    async def revoke(self, token: str) -> Answer:
        return await self.send("/api/v1/auth/revoke", {"token": token})

    async def send(self, path: str, told: dict[str, str], *, api: Api | None = None) -> Answer:
        if self.secret is None:
            return await send_form(api or self.api, path, told | {"client_id": self.id})
        return await send_form(api or self.api, path, told, basic(self.id, self.secret))


async def userinfo(api: Api, token: str) -> Answer:
    return await api.call("GET", "/oauth/userinfo", token=token)
