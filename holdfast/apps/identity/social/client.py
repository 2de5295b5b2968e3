"""Google, GitHub and Kakao: where to send a browser, and what to ask when it comes back.

All use the authorization code flow with PKCE (RFC 7636). Google and Kakao sign an ID token (OpenID
Connect), which is verified with their keys; GitHub is asked who its access token belongs to. No
token of theirs is kept. A provider that is away or answers oddly is a clear refusal, and soon.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from pydantic import TypeAdapter, ValidationError

from holdfast.apps.identity.options import Options
from holdfast.apps.identity.social.rules import (
    IdToken,
    ProviderRefusedError,
    challenge_of,
    check_id_token,
)
from holdfast.apps.identity.social.schemas import Flow, Profile, ProviderName
from holdfast.apps.identity.wire import Email
from holdfast.core.errors import BusyError, ProblemError
from holdfast.core.jwks import KeysAwayError, RemoteKeys, bounded_body

ANSWERS_WITHIN_S = 8  # all requests of one sign-in together
ALGORITHM = "RS256"
EMAIL: TypeAdapter[str] = TypeAdapter(Email)
log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Addresses(NamedTuple):
    issuer: str
    authorize: str
    token: str
    api: str
    keys: str = ""


class Tokens(msgspec.Struct, frozen=True):
    access_token: str
    id_token: str = ""


class Provider(ABC):
    """One provider, as the client that it knows us by."""

    name: ClassVar[ProviderName]
    scope: ClassVar[str]

    def __init__(
        self, http: aiohttp.ClientSession, client_id: str, client_secret: str, at: Addresses
    ) -> None:
        self.at = at
        self._http = http
        self._client_id = client_id
        self._client_secret = client_secret

    @classmethod
    @abstractmethod
    def addresses(cls, url: str | None) -> Addresses:
        """Where it really is, or all of it under one URL."""

    @abstractmethod
    async def _identify(self, tokens: Tokens, nonce: str) -> Profile: ...

    def authorize_url(self, flow: Flow, state: str, redirect_uri: str) -> str:
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": self.scope,
            "state": state,
            "nonce": flow.nonce,
            "code_challenge": challenge_of(flow.verifier),
            "code_challenge_method": "S256",
        }
        return f"{self.at.authorize}?{urlencode(query)}"

    async def profile(self, flow: Flow, code: str, redirect_uri: str) -> Profile:
        """Who has come back with this code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "code_verifier": flow.verifier,
        }
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                tokens = await self._ask(self.at.token, Tokens, form=form)
                return await self._identify(tokens, flow.nonce)
        except (aiohttp.ClientError, TimeoutError, KeysAwayError) as error:
            self._told("is away: %r", error)
            raise ProviderAwayError from error
        except (msgspec.MsgspecError, JoseError, ValueError) as error:
            self._told("answers oddly: %r", error)
            raise ProviderRefusedError from error

    async def _ask(
        self,
        url: str,
        kind: type[Answer],
        *,
        form: Mapping[str, str] | None = None,
        bearer: str | None = None,
    ) -> Answer:
        headers = {"Accept": "application/json", "User-Agent": "Holdfast"}  # GitHub wants a name
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        async with self._http.request(
            "POST" if form else "GET", url, data=form, headers=headers, allow_redirects=False
        ) as answer:
            if answer.status != HTTPStatus.OK:
                self._told("answered %d at %s", answer.status, url)
                raise _refusal(answer.status)
            return msgspec.json.decode(await bounded_body(answer), type=kind)

    def _told(self, what: str, *values: object) -> None:
        log.warning(f"{self.name} {what}", *values)  # noqa: G004 - the name is ours

    def _profile(self, provider_id: str, email: str | None, *, verified: bool) -> Profile:
        try:
            known = EMAIL.validate_python(email) if email else None
        except ValidationError:
            known = None
        return Profile(self.name, provider_id, known, known is not None and verified)


class OpenIdProvider(Provider):
    """A provider that signs who somebody is."""

    def __init__(
        self, http: aiohttp.ClientSession, client_id: str, client_secret: str, at: Addresses
    ) -> None:
        super().__init__(http, client_id, client_secret, at)
        self._keys = RemoteKeys(at.keys)

    async def _verified(self, text: str, nonce: str) -> IdToken:
        header = jws.extract_compact(text.encode()).headers()
        key = await self._keys.find(str(header.get("kid", "")))
        if key is None or key.alg != ALGORITHM:
            raise ProviderRefusedError
        payload = jws.deserialize_compact(text, key.key, algorithms=[ALGORITHM]).payload
        token = msgspec.json.decode(payload, type=IdToken)
        check_id_token(token, issuer=self.at.issuer, client_id=self._client_id, nonce=nonce)
        return token


class Google(OpenIdProvider):
    name = "google"
    scope = "openid email"

    @classmethod
    def addresses(cls, url: str | None) -> Addresses:
        issuer = url or "https://accounts.google.com"
        return Addresses(
            issuer=issuer,
            authorize=f"{issuer}/o/oauth2/v2/auth",
            token=f"{url or 'https://oauth2.googleapis.com'}/token",
            api="",  # its ID token says it all
            keys=f"{url or 'https://www.googleapis.com'}/oauth2/v3/certs",
        )

    async def _identify(self, tokens: Tokens, nonce: str) -> Profile:
        token = await self._verified(tokens.id_token, nonce)
        return self._profile(token.sub, token.email, verified=token.email_verified)


class KakaoAccount(msgspec.Struct, frozen=True):
    email: str | None = None
    is_email_valid: bool = False  # false: the address was given to another account since
    is_email_verified: bool = False


class KakaoUser(msgspec.Struct, frozen=True):
    id: int
    kakao_account: KakaoAccount = KakaoAccount()


class Kakao(OpenIdProvider):
    name = "kakao"
    scope = "openid account_email"

    @classmethod
    def addresses(cls, url: str | None) -> Addresses:
        issuer = url or "https://kauth.kakao.com"
        return Addresses(
            issuer=issuer,
            authorize=f"{issuer}/oauth/authorize",
            token=f"{issuer}/oauth/token",
            api=url or "https://kapi.kakao.com",
            keys=f"{issuer}/.well-known/jwks.json",
        )

    async def _identify(self, tokens: Tokens, nonce: str) -> Profile:
        token = await self._verified(tokens.id_token, nonce)
        user = await self._ask(f"{self.at.api}/v2/user/me", KakaoUser, bearer=tokens.access_token)
        if str(user.id) != token.sub:
            raise ProviderRefusedError
        account = user.kakao_account
        verified = account.is_email_valid and account.is_email_verified
        return self._profile(token.sub, account.email, verified=verified)


class GitHubUser(msgspec.Struct, frozen=True):
    id: int


class GitHubEmail(msgspec.Struct, frozen=True):
    email: str
    primary: bool
    verified: bool


class GitHub(Provider):
    name = "github"
    scope = "user:email"

    @classmethod
    def addresses(cls, url: str | None) -> Addresses:
        """Under one URL it is laid out as GitHub Enterprise Server is."""
        issuer = f"{url or 'https://github.com'}/login/oauth"
        return Addresses(
            issuer=issuer,
            authorize=f"{issuer}/authorize",
            token=f"{issuer}/access_token",
            api=f"{url}/api/v3" if url else "https://api.github.com",
        )

    async def _identify(self, tokens: Tokens, _nonce: str) -> Profile:
        user = await self._ask(f"{self.at.api}/user", GitHubUser, bearer=tokens.access_token)
        emails = await self._ask(
            f"{self.at.api}/user/emails", list[GitHubEmail], bearer=tokens.access_token
        )
        primary = next((each for each in emails if each.primary), None)
        return self._profile(
            str(user.id),
            primary.email if primary else None,
            verified=primary is not None and primary.verified,
        )


def providers_of(options: Options, http: aiohttp.ClientSession) -> dict[str, Provider]:
    """Those that are configured, by their names."""
    google = (options.google_client_id, options.google_client_secret, options.google_url)
    github = (options.github_client_id, options.github_client_secret, options.github_url)
    kakao = (options.kakao_client_id, options.kakao_client_secret, options.kakao_url)
    told: dict[type[Provider], Any] = {Google: google, GitHub: github, Kakao: kakao}
    return {
        kind.name: kind(http, client_id, client_secret, kind.addresses(url))
        for kind, (client_id, client_secret, url) in told.items()
        if client_id and client_secret
    }


def _refusal(status: int) -> ProblemError:
    away = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
    return ProviderAwayError() if away else ProviderRefusedError()


class ProviderAwayError(BusyError):
    sentence = "The provider does not answer at this moment. Try again, or sign in in another way."
