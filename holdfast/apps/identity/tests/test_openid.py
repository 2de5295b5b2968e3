"""OpenID Connect: a client that we did not write signs people in, and nobody else gets in by it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import asyncpg
import pytest
import requests
from authlib.integrations.base_client.sync_app import BaseApp, OAuth2Mixin  # type: ignore[import-untyped]
from authlib.integrations.base_client.sync_openid import OpenIDMixin  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]
from joserfc import jws

from holdfast.apps.identity.authorization.schemas import CODE, Code
from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Account, Api, served
from holdfast.apps.identity.tests.conftest import PATIENCE_S, make_admin
from holdfast.apps.identity.tests.relying_party import (
    VERIFIER,
    Browser,
    RelyingParty,
    basic,
    challenge_of,
    send_form,
    userinfo,
)
from holdfast.apps.identity.tickets.actions import issue, peek
from holdfast.cli.servers import free_port
from holdfast.core.settings import Settings, SettingsError
from holdfast.core.web import build

DISCOVERY = "/.well-known/openid-configuration"
CONSENTS = "/api/v1/users/me/consents"
LOGOUT_ALL = "/api/v1/auth/logout-all"
End = Callable[[RelyingParty, Account, Account], Awaitable[None]]
BYE = "https://wiki.example/bye"


@pytest.fixture
def browser(api: Api, settings: Settings) -> Browser:
    return Browser(api, settings.origin)


@pytest.fixture
async def person(api: Api, browser: Browser) -> Account:
    """Somebody who is signed in in the browser."""
    account = await api.sign_up("ada@example.com")
    await browser.sign_in(account)
    return account


@pytest.fixture
async def party(api: Api, admin: Account, browser: Browser, person: Account) -> RelyingParty:
    """A service of our own."""
    return await RelyingParty.made(api, admin, browser)


@pytest.fixture
async def stranger(api: Api, admin: Account, browser: Browser, person: Account) -> RelyingParty:
    """A service of somebody else, which people must agree to."""
    return await RelyingParty.made(api, admin, browser, trusted=False)


async def agree(party: RelyingParty, decision: str = "allow", **asked: str | None) -> str:
    """Answer the question for consent; the page's text, which goes on to the client."""
    address = f"/oauth/authorize/consent?{party.asking(**asked)}"
    page = await party.browser.post(address, decision=decision)
    assert page.status == 200, page.text
    assert 'http-equiv="refresh"' in page.text
    return page.text


async def count(db: asyncpg.Connection) -> int:
    """Sessions of clients that are open."""
    return int(
        await db.fetchval(
            "SELECT count(*) FROM sessions WHERE client_id IS NOT NULL AND ended_at IS NULL"
        )
    )


# --- A standard client, over real HTTP ---


class StandardClient(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # Authlib is untyped
    """Authlib as a web application uses it, without a web framework."""

    client_cls = OAuth2Session


@pytest.fixture(params=["RS256", "Ed25519"])
async def home(
    settings: Settings, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Api, Settings]]:
    """An identity that is reached under its own name."""
    port = free_port()
    there = settings.model_copy(update={"origin": f"http://127.0.0.1:{port}"})
    options = Options(token_alg=request.param, hash_deadline_s=PATIENCE_S)
    app = build(there, service(there, options))
    async with served(app, port) as url, Api.at(url) as api:
        yield api, there


def sign_in_by_authlib(origin: str, party: RelyingParty, account: Account) -> dict[str, Any]:
    client = StandardClient(
        None,
        "holdfast",
        client_id=party.id,
        client_secret=party.secret,
        server_metadata_url=origin + DISCOVERY,
        client_kwargs={
            "scope": "openid profile email offline_access",
            "code_challenge_method": "S256",
        },
    )
    begun = client.create_authorization_url(party.redirect_uri, nonce="a nonce")
    with requests.Session() as person:
        asked = person.get(begun["url"])
        assert urlsplit(asked.url).path == "/sign-in"
        entered = person.post(
            asked.url,
            data={"email": account.email, "password": account.password},
            headers={"Origin": origin},
        )
        assert urlsplit(entered.url).path == "/oauth/continue"
        answered = person.get(begun["url"], allow_redirects=False)
    told = dict(parse_qsl(urlsplit(answered.headers["Location"]).query))
    assert told["state"] == begun["state"]
    assert told["iss"] == origin
    tokens = client.fetch_access_token(
        party.redirect_uri, code=told["code"], code_verifier=begun["code_verifier"]
    )
    claims = client.parse_id_token(tokens, nonce="a nonce")
    with OAuth2Session(party.id, party.secret) as session:
        refreshed = session.refresh_token(
            f"{origin}/oauth/token", refresh_token=tokens["refresh_token"]
        )
    return {
        "tokens": tokens,
        "claims": claims,
        "userinfo": client.userinfo(token=tokens),
        "again": client.userinfo(token=refreshed),
    }


async def test_a_standard_client_signs_somebody_in_with_what_it_discovers(
    home: tuple[Api, Settings], db: asyncpg.Connection
) -> None:
    api, settings = home
    party = await RelyingParty.made(
        api, await make_admin(api, db), Browser(api, settings.origin), scopes=[*SCOPES]
    )
    account = await api.sign_up("ada@example.com")
    found = await asyncio.to_thread(sign_in_by_authlib, settings.origin, party, account)
    me = (await api.me(account)).data
    assert found["claims"]["sub"] == found["userinfo"]["sub"] == me["id"]
    assert found["claims"]["aud"] == party.id
    assert found["claims"]["amr"] == ["pwd"]
    assert found["userinfo"]["email"] == found["again"]["email"] == "ada@example.com"


SCOPES = ("openid", "profile", "email", "offline_access")


async def test_show_discovery_promises_what_works(api: Api, settings: Settings) -> None:
    told = await api.call("GET", DISCOVERY)
    assert told.status == 200
    assert told.body["issuer"] == settings.origin
    assert told.body["id_token_signing_alg_values_supported"] == ["Ed25519"]
    assert told.body["response_types_supported"] == ["code"]
    assert told.body["code_challenge_methods_supported"] == ["S256"]
    for name, address in told.body.items():
        if name.endswith(("_endpoint", "_uri")):
            url = api.url + address.removeprefix(settings.origin)
            async with api.http.get(url, allow_redirects=False) as answer:
                assert answer.status in {200, 307, 401, 405}, name
    same = await api.call("GET", "/.well-known/oauth-authorization-server")
    assert same.body == told.body


async def test_an_audience_that_is_the_issuer_is_refused_at_the_start(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="HOLDFAST_IDENTITY_AUDIENCE"):
        async with Identity.open(settings, Options(audience=settings.origin)):
            pass


# --- What a client asks for ---


async def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_comes_back(
    api: Api, party: RelyingParty, person: Account
) -> None:
    party.browser.cookies.clear()
    page = await party.browser.get(f"/oauth/authorize?{party.asking(prompt='login')}")
    assert page.status == 303
    path, _, query = page.location.partition("?")
    assert path == "/sign-in"
    entered = await party.browser.post(page.location, email=person.email, password=person.password)
    assert entered.status == 303
    assert entered.location == parse_qs(query)["next"][0]
    onward = await party.browser.get(entered.location)
    assert onward.status == 200  # a page: browsers let no form redirect to another site
    assert f'content="0; url=/oauth/authorize?response_type=code&amp;client_id={party.id}' in (
        onward.text
    )
    assert "prompt" not in onward.text
    asked = await party.ask()
    assert (asked["state"], asked["iss"]) == ("a state", party.browser.origin)


ASTRAY: dict[str, dict[str, str | None]] = {
    "an unknown client": {"client_id": "nobody"},
    "no client": {"client_id": None},
    "a client that cannot be one": {"client_id": "\0"},
    "no address": {"redirect_uri": None},
    "another address": {"redirect_uri": "https://evil.example/"},
    "an address below": {"redirect_uri": "https://wiki.example/back/more"},
    "an address with more": {"redirect_uri": "https://wiki.example/back?more"},
    "an address with a fragment": {"redirect_uri": "https://wiki.example/back#"},
    "another spelling": {"redirect_uri": "https://WIKI.example/back"},
}


@pytest.mark.parametrize("astray", ASTRAY)
async def test_nobody_is_sent_where_no_client_is_registered(
    party: RelyingParty, astray: str
) -> None:
    asking = party.asking(**ASTRAY[astray])
    for address in (f"/oauth/authorize?{asking}", f"/oauth/continue?{asking}"):
        page = await party.browser.get(address)
        assert page.status == 400
        assert not page.location
        assert 'href="https://evil.example' not in page.text
    posted = await party.browser.post(f"/oauth/authorize/consent?{asking}", decision="allow")
    assert (posted.status, posted.location) == (400, "")


async def test_a_parameter_that_is_there_twice_is_refused(party: RelyingParty) -> None:
    page = await party.browser.get(f"/oauth/authorize?{party.asking()}&client_id={party.id}")
    assert (page.status, page.location) == (400, "")


WRONG: dict[str, tuple[str, dict[str, str | None]]] = {
    "no response_type": ("invalid_request", {"response_type": None}),
    "implicit": ("unsupported_response_type", {"response_type": "id_token"}),
    "hybrid": ("unsupported_response_type", {"response_type": "code id_token"}),
    "a fragment": ("invalid_request", {"response_mode": "fragment"}),
    "no PKCE": ("invalid_request", {"code_challenge": None, "code_challenge_method": None}),
    "plain PKCE": ("invalid_request", {"code_challenge_method": "plain"}),
    "PKCE of no method": ("invalid_request", {"code_challenge_method": None}),
    "a short challenge": ("invalid_request", {"code_challenge": "short"}),
    "no scope": ("invalid_scope", {"scope": None}),
    "an unknown scope": ("invalid_scope", {"scope": "openid telepathy"}),
    "a permission": ("invalid_scope", {"scope": "openid users:read"}),
    "an unknown prompt": ("invalid_request", {"prompt": "create"}),
    "none and more": ("invalid_request", {"prompt": "none login"}),
    "an age that is none": ("invalid_request", {"max_age": "-1"}),
    "a huge age": ("invalid_request", {"max_age": "9" * 30}),
    "a huge nonce": ("invalid_request", {"nonce": "x" * 600}),
    "a request object": ("request_not_supported", {"request": "e30.e30."}),
    "a request elsewhere": ("request_uri_not_supported", {"request_uri": "https://evil.example"}),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_cannot_be_is_told_to_the_client(party: RelyingParty, wrong: str) -> None:
    error, changed = WRONG[wrong]
    told = await party.ask(**changed)
    assert told["error"] == error
    assert told["state"] == "a state"
    assert told["iss"] == party.browser.origin
    assert "code" not in told


async def test_prompt_none_never_asks(party: RelyingParty, stranger: RelyingParty) -> None:
    assert "code" in await party.ask(prompt="none")
    assert (await stranger.ask(prompt="none"))["error"] == "consent_required"
    party.browser.cookies.clear()
    assert (await party.ask(prompt="none"))["error"] == "login_required"


async def test_max_age_and_prompt_login_ask_for_a_fresh_proof(
    party: RelyingParty, db: asyncpg.Connection, api: Api, person: Account
) -> None:
    assert "code" in await party.ask(max_age="60")
    page = await party.browser.get(f"/oauth/authorize?{party.asking(prompt='login')}")
    assert page.location.startswith("/step-up?next=%2Foauth%2Fcontinue%3F")
    assert "prompt" not in page.location
    page = await party.browser.get(f"/oauth/authorize?{party.asking(max_age='0')}")
    assert page.location.startswith("/step-up?")
    assert "max_age" not in page.location
    party.browser.cookies.clear()
    await party.browser.sign_in(person)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '2 minutes'")
    page = await party.browser.get(f"/oauth/authorize?{party.asking(max_age='60')}")
    assert page.location.startswith("/step-up?")
    assert "max_age" in page.location
    assert (await party.ask(max_age="60", prompt="none"))["error"] == "login_required"
    proved = await party.browser.post(page.location, password=person.password)
    assert proved.status == 303, proved.text
    tokens = await party.tokens(max_age="60")
    told = jws.extract_compact(tokens["id_token"].encode()).payload
    assert b"auth_time" in told


async def test_a_hint_of_somebody_else_is_refused(
    party: RelyingParty, api: Api, browser: Browser
) -> None:
    hint = (await party.tokens())["id_token"]
    assert "code" in await party.ask(id_token_hint=hint)
    browser.cookies.clear()
    await browser.sign_in(await api.sign_up())
    assert (await party.ask(id_token_hint=hint))["error"] == "login_required"
    assert "code" in await party.ask(id_token_hint="nothing")


async def test_a_client_may_post_what_it_asks_for(party: RelyingParty, api: Api) -> None:
    asked = dict(parse_qsl(party.asking()))
    async with api.http.post(
        f"{api.url}/oauth/authorize",
        data=asked,
        headers={"Origin": "https://wiki.example", "Sec-Fetch-Site": "cross-site"},
        allow_redirects=False,
    ) as answer:
        assert answer.status == 303
        address = answer.headers["Location"]
    page = await party.browser.get(address)
    assert "code" in party.told_by(page.location)


# --- Consent ---


async def test_somebody_elses_client_is_agreed_to_once(
    stranger: RelyingParty, api: Api, person: Account
) -> None:
    asked = f"/oauth/authorize?{stranger.asking(scope='openid email')}"
    page = await stranger.browser.get(asked)
    assert page.status == 200
    assert "Wiki" in page.text
    assert person.email in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert "https://wiki.example/back?code=" in await agree(stranger, scope="openid email")
    assert "code" in await stranger.ask(scope="openid email")
    assert (await stranger.browser.get(f"{asked}&prompt=consent")).status == 200
    more = await stranger.browser.get(f"/oauth/authorize?{stranger.asking()}")
    assert more.status == 200  # it asks for more than was agreed to
    listed = await api.call("GET", CONSENTS, token=person.access)
    [consent] = listed.data
    assert (consent["client_id"], consent["name"]) == (stranger.id, "Wiki")
    assert consent["scopes"] == ["email", "openid"]


async def test_whoever_does_not_agree_is_sent_back_without_a_code(
    stranger: RelyingParty, db: asyncpg.Connection
) -> None:
    text = await agree(stranger, "deny")
    assert "error=access_denied" in text
    assert "code=" not in text
    assert await db.fetchval("SELECT count(*) FROM consents") == 0
    assert await db.fetchval("SELECT count(*) FROM tickets WHERE purpose = 'code'") == 0


async def test_no_other_sites_form_agrees(
    stranger: RelyingParty, api: Api, db: asyncpg.Connection
) -> None:
    evil = Browser(api, stranger.browser.origin, stranger.browser.cookies)
    address = f"{api.url}/oauth/authorize/consent?{stranger.asking()}"
    cookie = "; ".join(f"{name}={value}" for name, value in evil.cookies.items())
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        async with api.http.post(
            address, data={"decision": "allow"}, headers={"Cookie": cookie, **headers}
        ) as answer:
            assert answer.status == 403
    assert await db.fetchval("SELECT count(*) FROM consents") == 0


async def test_a_consent_needs_a_decision_and_somebody_who_is_signed_in(
    stranger: RelyingParty, db: asyncpg.Connection
) -> None:
    address = f"/oauth/authorize/consent?{stranger.asking()}"
    assert (await stranger.browser.post(address, decision="perhaps")).status == 422
    stranger.browser.cookies.clear()
    page = await stranger.browser.post(address, decision="allow")
    assert page.location.startswith("/sign-in?")
    assert await db.fetchval("SELECT count(*) FROM consents") == 0


async def test_revoke_consent_kills_refresh_and_userinfo_at_the_next_request(
    stranger: RelyingParty, api: Api, other: Api, person: Account
) -> None:
    await agree(stranger)
    tokens = await stranger.tokens()
    waiting = await stranger.code()
    assert (await userinfo(other, tokens["access_token"])).status == 200
    path = f"{CONSENTS}/{stranger.id}"
    assert (await api.call("DELETE", path, token=person.access)).status == 204
    for worker in (other, api):
        assert (await userinfo(worker, tokens["access_token"])).status == 401
        refreshed = await stranger.refresh(tokens["refresh_token"], api=worker)
        assert refreshed.body["error"] == "invalid_grant"
    assert (await stranger.exchange(waiting)).body["error"] == "invalid_grant"
    assert (await api.me(person)).status == 200
    assert (await api.call("DELETE", path, token=person.access)).status == 404
    assert (await api.call("GET", CONSENTS, token=person.access)).data == []


async def test_list_consents_shows_only_ones_own(
    stranger: RelyingParty, api: Api, person: Account
) -> None:
    await agree(stranger)
    somebody = await api.sign_up()
    assert (await api.call("GET", CONSENTS, token=somebody.access)).data == []
    path = f"{CONSENTS}/{stranger.id}"
    assert (await api.call("DELETE", path, token=somebody.access)).status == 404
    assert len((await api.call("GET", CONSENTS, token=person.access)).data) == 1


# --- Codes ---


async def test_exchange_token_refuses_a_code_that_was_used_and_ends_what_it_began(
    party: RelyingParty, api: Api, db: asyncpg.Connection
) -> None:
    code = await party.code()
    tokens = (await party.exchange(code)).body
    assert (await userinfo(api, tokens["access_token"])).status == 200
    again = await party.exchange(code)
    assert (again.status, again.body["error"]) == (400, "invalid_grant")
    assert again.headers["Cache-Control"] == "no-store"
    assert (await userinfo(api, tokens["access_token"])).status == 401
    assert (await party.refresh(tokens["refresh_token"])).status == 400
    assert await count(db) == 0
    noted = await db.fetchval("SELECT count(*) FROM audit_log WHERE action = 'session.code_reused'")
    assert noted == 1


async def test_exchange_token_gives_one_session_for_a_code_however_many_ask_at_once(
    party: RelyingParty, other: Api, db: asyncpg.Connection
) -> None:
    code = await party.code()
    workers = [party.api, other] * 8
    answers = await asyncio.gather(*(party.exchange(code, api=worker) for worker in workers))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 15
    begun = "SELECT count(*) FROM sessions WHERE client_id = $1"
    assert await db.fetchval(begun, party.id) == 1


FOREIGN: dict[str, dict[str, Any]] = {
    "another verifier": {"code_verifier": VERIFIER[::-1]},
    "a verifier that cannot be one": {"code_verifier": "short"},
    "the challenge as its verifier": {"code_verifier": challenge_of(VERIFIER)},
    "another address": {"redirect_uri": "https://wiki.example/other"},
    "half a code": {"code": "hft_"},
}


@pytest.mark.parametrize("foreign", FOREIGN)
async def test_exchange_token_refuses_what_is_not_of_one_piece_and_leaves_the_code(
    party: RelyingParty, db: asyncpg.Connection, foreign: str
) -> None:
    code = await party.code()
    refused = await party.exchange(code, **FOREIGN[foreign])
    assert (refused.status, refused.body["error"]) == (400, "invalid_grant")
    assert await count(db) == 0
    assert (await party.exchange(code)).status == 200


async def test_whoever_finds_a_used_code_ends_nothing_by_it(
    api: Api, admin: Account, browser: Browser, person: Account, db: asyncpg.Connection
) -> None:
    app = await RelyingParty.made(api, admin, browser, confidential=False)
    code = await app.code()
    assert (await app.exchange(code)).status == 200
    assert (await app.exchange(code, code_verifier=VERIFIER[::-1])).status == 400
    assert await count(db) == 1


async def test_exchange_token_gives_nobody_anothers_code(
    party: RelyingParty, api: Api, admin: Account, browser: Browser, db: asyncpg.Connection
) -> None:
    evil = await RelyingParty.made(api, admin, browser)
    code = await party.code()
    assert (await evil.exchange(code)).body["error"] == "invalid_grant"
    named = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    named |= {"redirect_uri": party.redirect_uri, "client_id": party.id}
    assert (await send_form(api, "/oauth/token", named)).status == 401
    assert await count(db) == 0
    tokens = (await party.exchange(code)).body
    assert (await evil.exchange(code)).status == 400
    assert (await userinfo(api, tokens["access_token"])).status == 200
    stolen = await evil.refresh(tokens["refresh_token"])
    assert stolen.body["error"] == "invalid_grant"
    assert (await party.refresh(tokens["refresh_token"])).status == 200


async def test_exchange_token_refuses_a_code_after_its_minute(
    party: RelyingParty, here: Identity, db: asyncpg.Connection
) -> None:
    facts = await peek(here.db, here.secrets, CODE, await party.code(), Code)
    for lifetime, status in ((timedelta(0), 400), (timedelta(seconds=60), 200)):
        code = await issue(here.db, here.secrets, CODE, facts, lifetime=lifetime)
        assert (await party.exchange(code)).status == status
    assert await count(db) == 1


async def sign_out(party: RelyingParty, person: Account, admin: Account) -> None:
    assert (await party.browser.post("/sign-out")).status == 303


async def sign_out_everywhere(party: RelyingParty, person: Account, admin: Account) -> None:
    assert (await party.api.call("POST", LOGOUT_ALL, token=person.access)).status == 200


async def change_password(party: RelyingParty, person: Account, admin: Account) -> None:
    body = {"current_password": person.password, "new_password": "quite another passphrase"}
    path = "/api/v1/users/me/password"
    assert (await party.api.call("POST", path, body, token=person.access)).status == 204


async def ban(party: RelyingParty, person: Account, admin: Account) -> None:
    user_id = (await party.api.me(person)).data["id"]
    path = f"/api/v1/admin/users/{user_id}/ban"
    assert (await party.api.call("PUT", path, {"reason": "spam"}, token=admin.access)).status == 204


@pytest.mark.parametrize("end", [sign_out, sign_out_everywhere, change_password, ban])
async def test_a_code_is_worth_nothing_once_its_browser_is_signed_out(
    party: RelyingParty, person: Account, admin: Account, db: asyncpg.Connection, end: End
) -> None:
    code = await party.code()
    await end(party, person, admin)
    assert (await party.exchange(code)).body["error"] == "invalid_grant"
    assert await count(db) == 0


async def test_signing_out_everywhere_misses_no_session_that_is_just_beginning(
    party: RelyingParty, other: Api, person: Account, db: asyncpg.Connection
) -> None:
    code = await party.code()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with db.transaction():
        await db.execute("LOCK TABLE refresh_tokens IN SHARE MODE")  # the exchange stops there
        exchange = asyncio.create_task(party.exchange(code, api=other))
        while await db.fetchval(waiting) < 1:
            await asyncio.sleep(0.01)
        ending = asyncio.create_task(sign_out_everywhere(party, person, person))
        while await db.fetchval(waiting) < 2 and not ending.done():
            await asyncio.sleep(0.01)
    answer = await exchange
    await ending
    assert answer.status == 200
    assert (await userinfo(other, answer.body["access_token"])).status == 401
    assert await count(db) == 0


# --- Tokens ---


async def test_a_clients_tokens_open_userinfo_and_nothing_of_the_api(
    party: RelyingParty, api: Api, person: Account
) -> None:
    tokens = await party.tokens()
    assert (await userinfo(api, tokens["access_token"])).status == 200
    assert (await api.me(tokens["access_token"])).status == 401
    assert (await api.me(tokens["id_token"])).status == 401
    assert (await userinfo(api, person.access)).status == 401
    assert (await userinfo(api, tokens["id_token"])).status == 401


async def test_a_refresh_token_used_as_an_access_token_and_the_other_way_round_is_a_401(
    party: RelyingParty, api: Api, person: Account
) -> None:
    tokens = await party.tokens()
    for refresh_token in (tokens["refresh_token"], person.refresh):
        assert (await api.me(refresh_token)).status == 401
        assert (await userinfo(api, refresh_token)).status == 401
    for access_token in (tokens["access_token"], person.access):
        refused = await api.call(
            "POST", "/api/v1/auth/refresh", {"refresh_token": access_token[:200]}
        )
        assert refused.status == 401
        assert (await party.refresh(access_token)).body["error"] == "invalid_grant"


async def test_a_clients_refresh_token_is_refused_by_our_own_refresh_and_stays_alive(
    party: RelyingParty, api: Api, person: Account
) -> None:
    tokens = await party.tokens()
    assert (await api.refresh(tokens["refresh_token"])).status == 401
    assert (await party.refresh(person.refresh)).body["error"] == "invalid_grant"
    assert (await party.refresh(tokens["refresh_token"])).status == 200
    assert (await api.refresh(person.refresh)).status == 200


async def test_a_clients_refresh_token_that_is_used_long_after_its_successor_ends_the_session(
    party: RelyingParty, api: Api, db: asyncpg.Connection
) -> None:
    first = (await party.tokens())["refresh_token"]
    second = (await party.refresh(first)).body
    assert (await party.refresh(first)).body["refresh_token"] == second["refresh_token"]
    await db.execute("UPDATE refresh_tokens SET used_at = used_at - interval '1 minute'")
    assert (await party.refresh(first)).body["error"] == "invalid_grant"
    assert (await party.refresh(second["refresh_token"])).status == 400
    assert (await userinfo(api, second["access_token"])).status == 401


async def test_only_offline_access_gives_a_refresh_token_and_only_openid_an_id_token(
    party: RelyingParty, api: Api, db: asyncpg.Connection
) -> None:
    plain = await party.tokens(scope="openid")
    assert "refresh_token" not in plain
    assert plain["id_token"]
    lives = "SELECT max(expires_at - created_at) < interval '16 minutes' FROM sessions WHERE client_id = $1"
    assert await db.fetchval(lives, party.id)
    oauth = await party.tokens(scope="profile")
    assert "id_token" not in oauth
    refused = await userinfo(api, oauth["access_token"])
    assert refused.status == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]


async def test_show_userinfo_tells_what_the_scopes_open(
    party: RelyingParty, api: Api, person: Account
) -> None:
    me = (await api.me(person)).data
    for scope, claims in (
        ("openid", {"sub"}),
        ("openid email", {"sub", "email", "email_verified"}),
        ("openid profile", {"sub", "locale"}),
    ):
        token = (await party.tokens(scope=scope))["access_token"]
        told = await userinfo(api, token)
        assert set(told.body) == claims
        assert told.body["sub"] == me["id"]
        assert told.headers["Cache-Control"] == "no-store"
    nobody = await api.call("GET", "/oauth/userinfo")
    assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
    refused = await userinfo(api, "nonsense")
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


async def test_show_userinfo_by_post_tells_the_same(party: RelyingParty, api: Api) -> None:
    token = (await party.tokens())["access_token"]
    posted = await api.call("POST", "/oauth/userinfo", token=token)
    assert posted.body == (await userinfo(api, token)).body


MALFORMED = {
    "no form": (b'{"grant_type": "refresh_token"}', "application/json"),
    "no text": (b"\xff\xfe", "application/x-www-form-urlencoded"),
    "no UTF-8": (b"grant_type=%ff", "application/x-www-form-urlencoded"),
    "twice": (b"code=a&code=b", "application/x-www-form-urlencoded"),
    "NUL": (b"code=%00", "application/x-www-form-urlencoded"),
    "too many fields": (
        b"&".join(b"f%d=1" % i for i in range(99)),
        "application/x-www-form-urlencoded",
    ),
    "no grant_type": (b"scope=openid", "application/x-www-form-urlencoded"),
    "no code": (b"grant_type=authorization_code", "application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize("odd", MALFORMED)
async def test_exchange_token_answers_an_odd_form_as_oauth_does(
    party: RelyingParty, api: Api, odd: str
) -> None:
    assert party.secret
    body, kind = MALFORMED[odd]
    headers = {"Content-Type": kind, **basic(party.id, party.secret)}
    answer = await api.call("POST", "/oauth/token", data=body, headers=headers)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert answer.headers["Content-Type"] == "application/json"


async def test_exchange_token_knows_no_other_grant(party: RelyingParty) -> None:
    told = {"grant_type": "password", "username": "ada@example.com", "password": "x"}
    answer = await party.send("/oauth/token", told)
    assert (answer.status, answer.body["error"]) == (400, "unsupported_grant_type")


async def test_an_app_without_a_secret_signs_in_on_whatever_loopback_port_it_got(
    api: Api, admin: Account, browser: Browser, person: Account
) -> None:
    app = await RelyingParty.made(
        api, admin, browser, confidential=False, redirect_uris=["http://127.0.0.1/back"]
    )
    app.redirect_uri = "http://127.0.0.1:51234/back"
    tokens = await app.tokens()
    assert (await app.refresh(tokens["refresh_token"])).status == 200


# --- Signing out ---


async def test_a_client_signs_its_user_out_with_an_id_token_of_theirs(
    party: RelyingParty, api: Api, person: Account
) -> None:
    tokens = await party.tokens()
    address = (
        f"/oauth/logout?id_token_hint={tokens['id_token']}&post_logout_redirect_uri={BYE}&state=s"
    )
    page = await party.browser.get(address)
    assert (page.status, page.location) == (303, f"{BYE}?state=s")
    assert (await userinfo(api, tokens["access_token"])).status == 401
    assert (await party.refresh(tokens["refresh_token"])).status == 400
    assert (await party.ask(prompt="none"))["error"] == "login_required"


async def test_without_a_hint_the_person_is_asked_before_anything_ends(
    party: RelyingParty, api: Api, person: Account
) -> None:
    tokens = await party.tokens()
    address = f"/oauth/logout?client_id={party.id}&post_logout_redirect_uri={BYE}"
    assert (await party.browser.get(address)).status == 200
    assert "code" in await party.ask()
    confirmed = await party.browser.post(address.replace("/logout?", "/logout/confirm?"))
    assert confirmed.status == 200
    assert f'url={BYE}"' in confirmed.text
    assert (await party.ask(prompt="none"))["error"] == "login_required"
    assert (await userinfo(api, tokens["access_token"])).status == 200


async def test_signing_out_leads_nowhere_that_is_not_registered_and_needs_a_true_hint(
    party: RelyingParty, api: Api, admin: Account, browser: Browser
) -> None:
    hint = (await party.tokens())["id_token"]
    token = (await party.tokens())["access_token"]
    other = await RelyingParty.made(api, admin, browser)
    for false_hint in (token, hint[:-2], "x", f"{hint}&client_id={other.id}"):
        page = await browser.get(f"/oauth/logout?id_token_hint={false_hint}")
        assert page.status == 200  # it asks
    evil = f"/oauth/logout?id_token_hint={hint}&post_logout_redirect_uri=https://evil.example/"
    page = await browser.get(evil)
    assert page.location == "/sign-in?done=signed-out"


async def test_a_hint_about_somebody_else_signs_nobody_out(
    party: RelyingParty, api: Api, browser: Browser
) -> None:
    hint = (await party.tokens())["id_token"]
    browser.cookies.clear()
    await browser.sign_in(await api.sign_up())
    assert (await browser.get(f"/oauth/logout?id_token_hint={hint}")).status == 200
    assert "code" in await party.ask()


async def test_a_client_may_post_that_it_signs_somebody_out(party: RelyingParty, api: Api) -> None:
    hint = (await party.tokens())["id_token"]
    posted = api.http.post(
        f"{api.url}/oauth/logout", data={"id_token_hint": hint}, allow_redirects=False
    )
    async with posted as answer:
        assert answer.status == 303
        address = answer.headers["Location"]
    assert (await party.browser.get(address)).location == "/sign-in?done=signed-out"
    assert (await party.ask(prompt="none"))["error"] == "login_required"
