"""Social login against a faithful provider: who is let in, who is linked, and what leaves no trace."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from fastapi import Response
from joserfc.jwk import RSAKey

from holdfast.apps.identity.access.rules import BROWSER, read_carried, write_carried
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.social import client
from holdfast.apps.identity.social.rules import (
    AlreadyLinkedError,
    Enter,
    Link,
    LinkedElsewhereError,
    LinkFirstError,
    ProviderEmailError,
    Register,
    decide_entry,
    decide_link,
)
from holdfast.apps.identity.social.schemas import Flow, Profile
from holdfast.apps.identity.tests.api import Account, Answer, Api, served
from holdfast.apps.identity.tests.conftest import PATIENCE_S
from holdfast.apps.identity.tests.provider import CLIENT_ID, CLIENT_SECRET, Person, Provider
from holdfast.apps.identity.tests.test_tokens import keyed_by_public_key, opened, segment
from holdfast.core import jwks
from holdfast.core.settings import Settings, SettingsError

KINDS = ["google", "github", "kakao"]
ADMIN_KEY = "the admin key that Kakao gave us"
each_kind = pytest.mark.parametrize("kind", KINDS)


@dataclass
class Browser:
    """What a browser does about redirects and cookies, one step at a time."""

    api: Api
    origin: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, address: str) -> tuple[int, str]:
        """Status, and where it is sent."""
        url = address.replace(self.origin, self.api.url, 1)
        headers = {"Host": urlsplit(self.origin).netloc}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{key}={text}" for key, text in self.cookies.items())
        async with self.api.http.get(url, headers=headers, allow_redirects=False) as answer:
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
                    if morsel["max-age"] == "0":
                        del self.cookies[name]
            return answer.status, answer.headers.get("Location", "")

    async def leave(self, kind: str, query: str = "") -> str:
        """Go to the provider; answers the address there."""
        status, there = await self.get(f"{self.origin}/auth/social/{kind}{query}")
        assert status == 303, (status, there)
        return there

    async def agree(self, there: str) -> str:
        """Say yes at the provider; answers the address that the browser is sent back to."""
        async with self.api.http.get(there, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return answer.headers["Location"]

    async def come_from(self, kind: str, query: str = "") -> str:
        """There and back; answers where it ends."""
        back = await self.agree(await self.leave(kind, query))
        status, end = await self.get(back)
        assert status == 303
        return end

    def session_id(self, here: Identity) -> UUID | None:
        return read_carried(BROWSER, self.cookies.get("holdfast_session", ""), here.secrets)


@pytest.fixture
async def provider(settings: Settings) -> AsyncIterator[Provider]:
    provider = Provider(settings.origin)
    async with served(provider.app) as url:
        provider.url = url
        yield provider


@pytest.fixture
def options(provider: Provider) -> Options:
    told: dict[str, Any] = {"kakao_admin_key": ADMIN_KEY, "hash_deadline_s": PATIENCE_S}
    for kind in KINDS:
        told[f"{kind}_client_id"], told[f"{kind}_client_secret"] = CLIENT_ID, CLIENT_SECRET
        told[f"{kind}_url"] = f"{provider.url}/{kind}"
    return Options(**told)


@pytest.fixture
def browser(api: Api, settings: Settings) -> Browser:
    return Browser(api, settings.origin)


class Traces(NamedTuple):
    users: int
    sessions: int
    links: int


async def traces(db: asyncpg.Connection) -> Traces:
    row = await db.fetchrow(
        """SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sessions),
        (SELECT count(*) FROM oauth_accounts)"""
    )
    return Traces(*(row or ()))


async def registered(api: Api, db: asyncpg.Connection, *, verified: bool = True) -> Account:
    """Ada's account, with a password."""
    await api.sign_up("ada@example.com")
    await db.execute(
        "UPDATE users SET email_verified_at = $2 WHERE email = $1",
        "ada@example.com",
        await db.fetchval("SELECT now()") if verified else None,
    )
    return await api.sign_in("ada@example.com")


async def signed_in(browser: Browser, here: Identity, account: Account) -> Browser:
    """The same session, in a browser."""
    session_id = UUID(opened(account.access, 1)["sid"])
    expires_at = await here.db.fetchval("SELECT expires_at FROM sessions WHERE id = $1", session_id)
    cookie = write_carried(BROWSER, session_id, expires_at, here.secrets)
    return Browser(browser.api, browser.origin, {"holdfast_session": cookie})


@each_kind
async def test_a_stranger_gets_an_account_and_a_session(
    browser: Browser, here: Identity, db: asyncpg.Connection, kind: str
) -> None:
    assert await browser.come_from(kind, "?next=/notes%3Fpage%3D2") == "/notes?page=2"
    user = await db.fetchrow("SELECT * FROM users")
    assert user is not None
    assert (user["email"], user["language"]) == ("ada@example.com", "en")
    assert user["email_verified_at"]
    session = await db.fetchrow("SELECT * FROM sessions")
    assert session is not None
    assert session["id"] == browser.session_id(here)
    assert (session["user_id"], session["amr"]) == (user["id"], ["fed", kind])
    assert await db.fetchval("SELECT role FROM user_roles") == "user"
    assert await db.fetchval("SELECT count(*) FROM credentials") == 0
    assert await db.fetchval("SELECT outcome FROM login_history") == "succeeded"
    assert await db.fetchval("SELECT type FROM outbox") == "user.registered"
    assert await db.fetchval("SELECT action FROM audit_log") == "account.linked"
    assert "holdfast_social" not in browser.cookies


@each_kind
async def test_whoever_is_known_enters_again_whatever_their_address_is_now(
    browser: Browser, provider: Provider, db: asyncpg.Connection, kind: str
) -> None:
    await browser.come_from(kind)
    provider.person = Person(1, "countess@example.com", verified=False)
    assert await browser.come_from(kind) == "/account"
    assert await traces(db) == Traces(users=1, sessions=2, links=1)
    assert await db.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 1
    assert await db.fetchval("SELECT email FROM oauth_accounts") == "countess@example.com"
    assert await db.fetchval("SELECT email FROM users") == "ada@example.com"


@each_kind
async def test_an_account_whose_address_both_have_verified_is_linked_and_its_owner_told(
    api: Api, browser: Browser, provider: Provider, db: asyncpg.Connection, kind: str
) -> None:
    await registered(api, db)
    provider.person = Person(1, "Ada@Example.com")
    assert await browser.come_from(kind) == "/account"
    assert (await traces(db)).users == 1
    link = await db.fetchrow("SELECT user_id = (SELECT id FROM users), email FROM oauth_accounts")
    assert tuple(link or ()) == (True, "ada@example.com")
    mail = await db.fetchrow("SELECT recipient, facts FROM mails WHERE template = 'account_linked'")
    assert tuple(mail or ()) == ("ada@example.com", f'{{"provider": "{kind}"}}')


async def refused(browser: Browser, db: asyncpg.Connection, end: str, problem: str) -> None:
    """Back at the sign-in page, without a session."""
    assert urlsplit(end).path == "/sign-in"
    assert parse_qs(urlsplit(end).query)["problem"] == [problem]
    assert "holdfast_session" not in browser.cookies
    assert await traces(db) == Traces(users=0, sessions=0, links=0)


async def test_a_victims_address_that_was_registered_before_is_not_joined(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    await registered(api, db, verified=False)
    before = await traces(db)
    for kind in KINDS:
        end = await browser.come_from(kind, "?next=/notes")
        assert end == "/sign-in?next=%2Fnotes&problem=link-first"
        assert await traces(db) == before
        assert "holdfast_session" not in browser.cookies


async def test_a_second_factor_is_not_passed_by_an_address_alone(
    api: Api, browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    ada = await registered(api, db)
    await db.execute(
        """INSERT INTO totp_secrets (user_id, sealed, confirmed_at)
        SELECT id, '', now() FROM users"""
    )
    before = await traces(db)
    assert (await browser.come_from("google")).endswith("problem=link-first")
    assert await traces(db) == before
    with_cookie = await signed_in(browser, here, ada)
    assert await with_cookie.come_from("google", "?link=1") == "/account"
    assert await browser.come_from("google") == "/account"  # now it is its owner's will


UNVERIFIED = {
    "google": [Person(1, "ada@example.com", verified=False), Person(1, None)],
    "github": [Person(1, "ada@example.com", verified=False), Person(1, None)],
    "kakao": [
        Person(1, "ada@example.com", verified=False),
        Person(1, "ada@example.com", valid=False),
        Person(1, None),
        Person(1, "no address"),
    ],
}


async def test_an_unverified_address_opens_no_account_and_no_session(
    browser: Browser, provider: Provider, db: asyncpg.Connection
) -> None:
    for kind in KINDS:
        for person in UNVERIFIED[kind]:
            provider.person = person
            await refused(browser, db, await browser.come_from(kind), "provider-email")


@each_kind
async def test_a_missing_or_foreign_state_is_refused_before_the_provider_is_asked(
    api: Api, browser: Browser, provider: Provider, db: asyncpg.Connection, kind: str
) -> None:
    attacker = Browser(api, browser.origin)
    attackers_back = await attacker.agree(await attacker.leave(kind))
    back = await browser.agree(await browser.leave(kind))
    mine, theirs = (
        {"holdfast_social": each.cookies["holdfast_social"]} for each in (browser, attacker)
    )
    state = parse_qs(urlsplit(back).query)["state"][0]
    tried = [
        (mine, back.replace(quote(state), "")),
        (mine, back.split("?")[0] + "?code=x"),
        (mine, attackers_back),  # login CSRF: the attacker's account in the victim's browser
        (theirs, back),  # a stolen address, in the attacker's browser
        ({}, back),
        ({}, back.replace(quote(state), "")),
        ({"holdfast_social": "x"}, back.replace(quote(state), "x")),
        (mine, back.replace(f"/{kind}/", "/google/" if kind != "google" else "/kakao/")),
    ]
    for cookies, address in tried:
        browser.cookies = dict(cookies)
        _, end = await browser.get(address)
        await refused(browser, db, end, "ticket-refused")
    assert "redeem" not in provider.asked


@each_kind
async def test_a_replayed_address_or_code_is_refused(
    api: Api, browser: Browser, db: asyncpg.Connection, kind: str
) -> None:
    back = await browser.agree(await browser.leave(kind))
    cookies = dict(browser.cookies)
    assert await browser.get(back) == (303, "/account")
    before = await traces(db)
    replaying = Browser(api, browser.origin, cookies)
    assert (await replaying.get(back))[1] == "/sign-in?problem=ticket-refused"
    used = parse_qs(urlsplit(back).query)["code"][0]
    fresh = await replaying.agree(await replaying.leave(kind))
    code = parse_qs(urlsplit(fresh).query)["code"][0]
    assert "problem=provider-refused" in (await replaying.get(fresh.replace(code, used)))[1]
    assert await traces(db) == before


async def test_a_code_is_worth_nothing_without_its_verifier(
    api: Api, browser: Browser, provider: Provider, db: asyncpg.Connection
) -> None:
    """PKCE: whoever has seen a victim's code and puts it into a sign-in of their own gets nothing."""
    for kind in KINDS:
        victims = parse_qs(urlsplit(await browser.agree(await browser.leave(kind))).query)["code"][
            0
        ]
        attacker = Browser(api, browser.origin)
        there = await attacker.leave(kind)
        asked = parse_qs(urlsplit(there).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert len(asked["code_challenge"][0]) == 43
        back = await attacker.agree(there)
        own = parse_qs(urlsplit(back).query)["code"][0]
        _, end = await attacker.get(back.replace(own, victims))
        await refused(attacker, db, end, "provider-refused")
        assert provider.asked[-1] == "redeem"


OTHERS = RSAKey.generate_key(2048, {"alg": "RS256"})
FORGED: dict[str, dict[str, Any]] = {
    "another issuer": {"claims": {"iss": "https://elsewhere.example"}},
    "no issuer": {"claims": {"iss": None}},
    "for another client": {"claims": {"aud": "another"}},
    "for two clients": {"claims": {"aud": [CLIENT_ID, "another"]}},
    "for another party": {"claims": {"azp": "another"}},
    "of another sign-in": {"claims": {"nonce": "another"}},
    "without nonce": {"claims": {"nonce": None}},
    "expired": {"claims": {"exp": int(time.time()) - 1}},
    "without end": {"claims": {"exp": None}},
    "of nobody": {"claims": {"sub": ""}},
    "of an odd person": {"claims": {"sub": "a\0b"}},
    "of a number": {"claims": {"sub": 1}},
    "signed by another": {"signs_with": OTHERS},
    "signed with an unknown key": {"header": {"kid": "unknown"}},
    "not a token": {"id_token": "a.b.c"},
    "nothing": {"id_token": "?"},
    "unsigned": {"id_token": f"{segment({'alg': 'none', 'kid': 'x'})}.{segment({})}."},
}


@pytest.mark.parametrize("kind", ["google", "kakao"])
async def test_a_forged_id_token_lets_nobody_in(
    browser: Browser, provider: Provider, db: asyncpg.Connection, kind: str
) -> None:
    for forged in FORGED.values():
        vars(provider.odd).update({"claims": {}, "header": {}, "signs_with": None} | forged)
        await refused(browser, db, await browser.come_from(kind), "provider-refused")
        provider.odd.id_token = None


async def test_an_id_token_keyed_by_the_public_key_lets_nobody_in(
    browser: Browser, provider: Provider, db: asyncpg.Connection
) -> None:
    there = await browser.leave("google")
    nonce = parse_qs(urlsplit(there).query)["nonce"][0]
    real = provider.id_token("google", provider.person, nonce)
    pem = provider.keys[0].as_pem(private=False)
    provider.odd.id_token = keyed_by_public_key(opened(real, 0), opened(real, 1), pem)
    _, end = await browser.get(await browser.agree(there))
    await refused(browser, db, end, "provider-refused")


async def test_a_kakao_account_that_its_token_does_not_mean_is_refused(
    browser: Browser, provider: Provider, db: asyncpg.Connection
) -> None:
    provider.odd.claims = {"sub": "2"}
    await refused(browser, db, await browser.come_from("kakao"), "provider-refused")


async def test_a_provider_may_rotate_its_keys(
    browser: Browser, provider: Provider, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "LOOK_AGAIN_S", 0)
    await browser.come_from("google")
    provider.rotate()
    assert await browser.come_from("google") == "/account"
    assert (await traces(db)).sessions == 2


async def test_an_answer_of_another_issuer_is_refused(
    browser: Browser, provider: Provider, db: asyncpg.Connection
) -> None:
    """RFC 9207: a mixed-up provider would be handed the code of another."""
    for kind in KINDS:
        back = await browser.agree(await browser.leave(kind))
        mixed_up = back.split("&iss=")[0] + "&iss=https%3A%2F%2Felsewhere.example"
        _, end = await browser.get(mixed_up)
        await refused(browser, db, end, "provider-refused")
        assert "redeem" not in provider.asked


@pytest.mark.parametrize(
    ("error", "problem"),
    [("access_denied", "sign-in-declined"), ("server_error", "provider-refused")],
)
async def test_a_provider_that_sends_an_error_is_told_as_such(
    browser: Browser, db: asyncpg.Connection, error: str, problem: str
) -> None:
    there = await browser.leave("github")
    state = parse_qs(urlsplit(there).query)["state"][0]
    address = f"{browser.origin}/auth/social/github/callback?error={error}&state={quote(state)}"
    _, end = await browser.get(address)
    await refused(browser, db, end, problem)


ODD_ANSWERS = {
    "down": (503, b"", "provider-away"),
    "busy": (429, b"{}", "provider-away"),
    "refusing": (403, b"{}", "provider-refused"),
    "elsewhere": (302, b"", "provider-refused"),
    "no JSON": (200, b"<html>", "provider-refused"),
    "not UTF-8": (200, b'{"id": "\xff"}', "provider-refused"),
    "another shape": (200, b'{"access_token": 1, "id": "x"}', "provider-refused"),
    "deep": (200, b"[" * 50_000, "provider-refused"),
    "huge": (200, b" " * 70_000, "provider-refused"),
}
STEPS = {
    "google": ["redeem", "publish"],
    "github": ["redeem", "show_github", "list_emails"],
    "kakao": ["redeem", "publish", "show_kakao"],
}


@each_kind
async def test_a_provider_that_is_away_or_odd_is_a_clear_problem(
    browser: Browser,
    provider: Provider,
    db: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(jwks, "LOOK_AGAIN_S", 0)
    for step, (status, body, problem) in product(STEPS[kind], ODD_ANSWERS.values()):
        provider.odd.answers = {step: Response(body, status, {"Location": "/"})}
        keys_are_away = step == "publish"
        end = await browser.come_from(kind)
        await refused(browser, db, end, "provider-away" if keys_are_away else problem)


async def test_a_provider_that_stalls_is_given_up(
    browser: Browser, provider: Provider, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWERS_WITHIN_S", 0.05)
    back = await browser.agree(await browser.leave("github"))
    provider.odd.stalls = asyncio.Event()
    _, end = await browser.get(back)
    provider.odd.stalls.set()
    await refused(browser, db, end, "provider-away")


async def test_a_provider_that_is_not_there_is_away(here: Identity) -> None:
    nowhere = client.Google.addresses("http://127.0.0.1:9")
    google = client.Google(here.http, CLIENT_ID, CLIENT_SECRET, nowhere)
    with pytest.raises(client.ProviderAwayError):
        await google.profile(Flow("google", "", "", "/", None), "code", "")


async def test_two_browsers_at_once_make_one_account(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    """Whichever provider they come from: the second finds what the first has made."""
    browsers = [Browser(api, browser.origin) for _ in range(6)]
    kinds = KINDS * 2
    backs = [
        await each.agree(await each.leave(kind)) for each, kind in zip(browsers, kinds, strict=True)
    ]
    ends = await asyncio.gather(
        *(each.get(back) for each, back in zip(browsers, backs, strict=True))
    )
    assert set(ends) == {(303, "/account")}
    assert await traces(db) == Traces(users=1, sessions=6, links=3)
    assert await db.fetchval("SELECT count(*) FROM outbox WHERE type = 'user.registered'") == 1


async def test_two_accounts_of_one_provider_are_not_joined_by_an_address(
    browser: Browser, provider: Provider, db: asyncpg.Connection
) -> None:
    await browser.come_from("google")
    provider.person = Person(2, "ada@example.com")
    assert (await browser.come_from("google")).endswith("problem=already-linked")
    assert (await traces(db)).links == 1


async def test_a_banned_person_is_refused_and_not_linked(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    await registered(api, db)
    await db.execute("UPDATE users SET banned_at = now()")
    before = await traces(db)
    for kind in KINDS:
        assert (await browser.come_from(kind)).endswith("problem=banned")
        assert await traces(db) == before


@pytest.mark.parametrize("next_path", ["https://elsewhere.example", "//elsewhere.example", "x"])
async def test_nobody_is_sent_to_another_site(browser: Browser, next_path: str) -> None:
    assert await browser.come_from("google", f"?next={quote(next_path)}") == "/account"


async def test_an_unknown_provider_is_no_page(browser: Browser) -> None:
    assert (await browser.get(f"{browser.origin}/auth/social/myspace"))[0] == 422


class TestNotConfigured:
    @pytest.fixture
    def options(self) -> Options:
        return Options()

    async def test_list_providers_names_none_and_none_is_served(
        self, api: Api, browser: Browser
    ) -> None:
        assert (await api.call("GET", "/api/v1/auth/social")).data == []
        assert (await browser.get(f"{browser.origin}/auth/social/google"))[0] == 404

    async def test_handle_kakao_unlink_refuses_everyone(self, api: Api) -> None:
        for key in ("", "None", ADMIN_KEY):
            assert (await tell_unlinked(api, key, 1)).status == 401


def test_half_a_provider_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="HOLDFAST_IDENTITY_KAKAO_CLIENT_ID"):
        Options.load({"HOLDFAST_IDENTITY_KAKAO_CLIENT_ID": "x"})


async def test_list_providers_names_those_that_are_configured(api: Api) -> None:
    assert (await api.call("GET", "/api/v1/auth/social")).data == KINDS


class TestHttps:
    @pytest.fixture
    def environ(self, environ: dict[str, str]) -> dict[str, str]:
        return environ | {"HOLDFAST_ORIGIN": "https://id.example.com"}

    async def test_over_https_no_neighbour_can_plant_a_state(self, api: Api) -> None:
        address = f"{api.url}/auth/social/google"
        headers = {"Host": "id.example.com"}
        async with api.http.get(address, headers=headers, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-holdfast-social=")
        flags = {part.strip().lower() for part in cookie.split(";")}
        assert {"secure", "httponly", "samesite=lax", "path=/", "max-age=600"} <= flags


async def links(api: Api, account: Account) -> list[str]:
    answer = await api.call("GET", "/api/v1/users/me/linked", token=account.access)
    return [link["provider"] for link in answer.data]


async def test_list_linked_shows_what_was_linked_by_hand(
    api: Api, browser: Browser, here: Identity, provider: Provider, db: asyncpg.Connection
) -> None:
    ada = await registered(api, db)
    provider.person = Person(7, "quite.another@example.com", verified=False)
    mine = await signed_in(browser, here, ada)
    before = await traces(db)
    assert await mine.come_from("kakao", "?link=1&next=/account/linked") == "/account/linked"
    assert await traces(db) == before._replace(links=1)
    assert await links(api, ada) == ["kakao"]
    assert await mine.come_from("kakao", "?link=1") == "/account"  # once more changes nothing
    assert await db.fetchval("SELECT count(*) FROM mails WHERE template = 'account_linked'") == 1
    assert await browser.come_from("kakao") == "/account"
    assert (await traces(db)).users == 1


async def test_a_link_needs_a_fresh_proof_and_a_verified_address(
    api: Api, browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    start = f"{browser.origin}/auth/social/google?link=1"
    status, to = await browser.get(start)
    assert (status, urlsplit(to).path) == (303, "/sign-in")
    unverified = await signed_in(browser, here, await registered(api, db, verified=False))
    assert (await unverified.get(start))[0] == 403
    await db.execute("UPDATE users SET email_verified_at = now()")
    ada = await api.sign_in("ada@example.com")
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    status, to = await (await signed_in(browser, here, ada)).get(start)
    assert (status, urlsplit(to).path) == (303, "/step-up")
    assert (await traces(db)).links == 0


async def test_a_link_is_only_made_for_the_session_that_asked_for_it(
    api: Api, browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    ada = await signed_in(browser, here, await registered(api, db))
    back = await ada.agree(await ada.leave("google", "?link=1"))
    stranger = await signed_in(browser, here, await api.sign_up("eve@example.com"))
    ada.cookies["holdfast_session"] = stranger.cookies["holdfast_session"]
    assert (await ada.get(back))[1] == "/account?problem=ticket-refused"
    ada.cookies.pop("holdfast_session")
    back = await browser.agree(await browser.leave("google"))
    assert (await traces(db)).links == 0


async def test_an_account_there_belongs_to_one_account_here(
    api: Api, browser: Browser, here: Identity, provider: Provider, db: asyncpg.Connection
) -> None:
    provider.person = Person(7, "eve@example.com")
    await browser.come_from("google")
    ada = await signed_in(browser, here, await registered(api, db))
    assert await ada.come_from("google", "?link=1") == "/account?problem=linked-elsewhere"
    provider.person = Person(8, None)
    assert await ada.come_from("google", "?link=1") == "/account"
    provider.person = Person(9, None)
    assert await ada.come_from("google", "?link=1") == "/account?problem=already-linked"
    assert (await traces(db)).links == 2


async def unlink(api: Api, account: Account | str, kind: str) -> Answer:
    token = account if isinstance(account, str) else account.access
    return await api.call("DELETE", f"/api/v1/users/me/linked/{kind}", token=token)


async def token_of(here: Identity, browser: Browser) -> str:
    """An access token of the browser's session."""
    row = await here.db.fetchrow(
        "SELECT user_id, authenticated_at FROM sessions WHERE id = $1", browser.session_id(here)
    )
    assert row is not None
    now = int(time.time())
    return await here.keys.sign(
        {
            "iss": here.settings.origin,
            "aud": here.options.audience,
            "sub": row["user_id"],
            "sid": browser.session_id(here),
            "client_id": here.options.client_id,
            "iat": now,
            "exp": now + 60,
            "auth_time": now,
        }
    )


async def test_unlink_closes_this_way_in_and_tells_the_owner(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    ada = await registered(api, db)
    await browser.come_from("google")
    assert (await unlink(api, ada, "google")).status == 204
    assert await links(api, ada) == []
    assert (await unlink(api, ada, "google")).status == 404
    assert await db.fetchval("SELECT count(*) FROM mails WHERE template = 'account_unlinked'") == 1
    actions = [row["action"] for row in await db.fetch("SELECT action FROM audit_log ORDER BY id")]
    assert actions[-2:] == ["account.linked", "account.unlinked"]


async def test_unlink_needs_a_fresh_proof(
    api: Api, browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    await browser.come_from("google")
    await browser.come_from("kakao")
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '11 minutes'")
    answer = await unlink(api, await token_of(here, browser), "google")
    assert (answer.status, answer.body["type"]) == (401, "/problems/step-up-required")
    assert (await traces(db)).links == 2


async def test_unlink_refuses_the_last_way_in_also_when_two_go_at_once(
    api: Api, browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    await browser.come_from("google")
    answer = await unlink(api, await token_of(here, browser), "google")
    assert (answer.status, answer.body["type"]) == (409, "/problems/last-way-in")
    await browser.come_from("kakao")
    token = await token_of(here, browser)
    both = await asyncio.gather(*(unlink(api, token, kind) for kind in ("google", "kakao")))
    assert sorted(answer.status for answer in both) == [204, 409]
    passkey = await db.fetchval(
        """INSERT INTO passkeys
        (credential_id, user_id, name, public_key, sign_count, transports, backed_up)
        SELECT 'x', id, 'Phone', 'x', 0, '{}', false FROM users RETURNING id"""
    )
    (left,) = await db.fetch("SELECT provider FROM oauth_accounts")
    last_two = await asyncio.gather(
        unlink(api, token, left["provider"]),
        api.call("DELETE", f"/api/v1/users/me/passkeys/{passkey}", token=token),
    )
    assert sorted(answer.status for answer in last_two) == [204, 409]


async def tell_unlinked(api: Api, key: str, kakao_id: object) -> Answer:
    body = f"app_id=123&user_id={kakao_id}&referrer_type=UNLINK_FROM_APPS"
    return await api.call(
        "POST",
        "/api/v1/auth/social/kakao/unlink",
        data=body.encode(),
        headers={
            "Authorization": f"KakaoAK {key}",
            "Content-Type": "application/x-www-form-urlencoded;charset=utf-8",
        },
    )


async def test_handle_kakao_unlink_removes_the_link_and_ends_what_began_by_it(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    ada = await registered(api, db)
    await browser.come_from("google")
    await Browser(api, browser.origin).come_from("kakao")
    for _ in range(2):  # Kakao may say it again
        assert (await tell_unlinked(api, ADMIN_KEY, 1)).status == 200
    assert await links(api, ada) == ["google"]
    open_ways = await db.fetch("SELECT amr FROM sessions WHERE ended_at IS NULL")
    assert ["fed", "kakao"] not in [row["amr"] for row in open_ways]
    assert ["fed", "google"] in [row["amr"] for row in open_ways]
    assert await db.fetchval("SELECT count(*) FROM mails WHERE template = 'account_unlinked'") == 1


async def test_handle_kakao_unlink_keeps_the_account_when_it_was_the_last_way_in(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    await browser.come_from("kakao")
    assert (await tell_unlinked(api, ADMIN_KEY, 1)).status == 200
    assert (await traces(db))[::2] == (1, 0)


async def test_handle_kakao_unlink_believes_only_kakao(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    await browser.come_from("kakao")
    for forged in ("", "wrong", ADMIN_KEY[:-1], f"{ADMIN_KEY}x"):
        assert (await tell_unlinked(api, forged, 1)).status == 401
    assert (await traces(db)).links == 1
    for odd in ("", "x", "9" * 30, "%00"):
        assert (await tell_unlinked(api, ADMIN_KEY, odd)).status == 422
    assert (await tell_unlinked(api, ADMIN_KEY, "2" * 20)).status == 200  # nobody's


class Local(NamedTuple):
    user_id: UUID
    verified: bool
    second_factor: bool
    banned: bool
    linked: bool


LOCALS = [None, *(Local(UUID(int=1), *flags) for flags in product((False, True), repeat=4))]
EMAILS = [(None, False), ("ada@example.com", False), ("ada@example.com", True)]


@pytest.mark.parametrize("local", LOCALS)
@pytest.mark.parametrize("owner", [None, uuid4()])
@pytest.mark.parametrize("email", EMAILS)
def test_an_entry_is_decided_for_every_case(
    local: Local | None, owner: UUID | None, email: tuple[str | None, bool]
) -> None:
    """Written a second time, as sentences: what may happen, and nothing else does."""
    profile = Profile("google", "1", *email)
    try:
        decided: object = decide_entry(profile, owner=owner, local=local)
    except (ProviderEmailError, LinkFirstError, AlreadyLinkedError) as refusal:
        decided = type(refusal)
    confirmed = email[1]
    if owner:
        assert decided == Enter(owner)
    elif not confirmed:
        assert decided is ProviderEmailError
    elif local is None:
        assert decided == Register("ada@example.com")
    elif local.banned:
        assert decided == Enter(local.user_id)
    elif local.verified and not local.second_factor and not local.linked:
        assert decided == Link(local.user_id)
    else:
        assert decided in {LinkFirstError, AlreadyLinkedError}


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("owner", [None, UUID(int=1), UUID(int=2)])
def test_a_link_is_decided_for_every_case(owner: UUID | None, *, linked: bool) -> None:
    account = Local(UUID(int=1), verified=True, second_factor=True, banned=False, linked=linked)
    try:
        decided: object = decide_link(owner=owner, linking=account)
    except (AlreadyLinkedError, LinkedElsewhereError) as refusal:
        decided = type(refusal)
    if owner == account.user_id:
        assert decided == Enter(owner)
    elif owner:
        assert decided is LinkedElsewhereError
    else:
        assert decided == (AlreadyLinkedError if linked else Link(account.user_id))
