"""The account's own pages: what their forms do, for whom, and what they show once."""

import json
import re

import asyncpg
import pytest

from holdfast.apps.identity.devices import read_device
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Api
from holdfast.apps.identity.tests.authenticator_app import App, sign_up_verified
from holdfast.apps.identity.tests.browser import Browser
from holdfast.apps.identity.tests.post import letters_to, ticket_in
from holdfast.core.settings import Settings

PHONE = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
)
SESSION = re.compile(r'action="(/account/sessions/[0-9a-f-]{36}/end)')
REVOKE = re.compile(r'action="(/account/sessions/tokens/[0-9a-f-]{36}/revoke)')


@pytest.fixture
async def account(api: Api, db: asyncpg.Connection) -> Account:
    return await sign_up_verified(api, db)


@pytest.fixture
async def browser(api: Api, settings: Settings, account: Account) -> Browser:
    await api.call("POST", "/api/v1/auth/logout-all", token=account.access)
    return await Browser(api, settings.origin).sign_in(account.email)


@pytest.fixture
async def phone(api: Api, settings: Settings, account: Account, browser: Browser) -> Browser:
    """The same person, in another browser."""
    return await Browser(api, settings.origin, device=PHONE).sign_in(account.email)


async def test_name_and_language_are_changed(browser: Browser, db: asyncpg.Connection) -> None:
    shown = await browser.send("/account/profile", name="에이다", language="ko")
    assert shown.goes_to == "/account?done=profile-changed&lang=ko"
    after = await browser.get(shown.goes_to)
    assert after.tells("<h1>에이다</h1>")
    assert after.tells("저장했습니다.")
    assert await db.fetchval("SELECT language FROM users") == "ko"


async def test_a_name_is_taken_away_by_an_empty_field(
    browser: Browser, db: asyncpg.Connection
) -> None:
    await browser.send("/account/profile", name="Ada", language="en")
    await browser.send("/account/profile", name="", language="en")
    assert await db.fetchval("SELECT name FROM users") is None


async def test_sessions_are_listed_by_device_and_the_own_one_is_marked(
    browser: Browser, phone: Browser
) -> None:
    shown = await browser.get("/account/sessions")
    assert shown.tells("Chrome on Android")
    assert re.search(r"Firefox on Linux</strong>\s*<span class=\"tag\">this browser", shown.text)
    assert shown.text.count("this browser") == 1


async def test_a_session_that_is_ended_is_out_at_its_next_click(
    browser: Browser, phone: Browser
) -> None:
    assert (await phone.get("/account")).status == 200
    found = SESSION.search((await browser.get("/account/sessions")).text)
    assert found
    assert (await browser.send(found[1])).goes_to == "/account/sessions?done=session-ended"
    assert (await phone.get("/account")).goes_to == "/sign-in?next=%2Faccount"
    assert (await browser.get("/account")).status == 200


async def test_nobody_ends_the_session_of_somebody_else(
    api: Api, settings: Settings, browser: Browser, phone: Browser
) -> None:
    found = SESSION.search((await browser.get("/account/sessions")).text)
    assert found
    stranger = await api.sign_up()
    other = await Browser(api, settings.origin).sign_in(stranger.email)
    shown = await other.send(found[1])
    assert shown.status == 404
    assert (await phone.get("/account")).status == 200


async def test_all_other_sessions_end_and_this_one_stays(browser: Browser, phone: Browser) -> None:
    shown = await browser.send("/account/sessions/end-others")
    assert shown.goes_to == "/account/sessions?done=sessions-ended"
    assert (await browser.get("/account")).status == 200
    assert (await phone.get("/account")).status == 303


async def test_a_new_password_ends_every_session(browser: Browser, phone: Browser) -> None:
    wrong = await browser.send(
        "/account/security/password",
        current_password="wrong",
        new_password="seven quiet otters sleep",
    )
    assert wrong.status == 403
    assert wrong.tells("The current password is wrong.")
    assert wrong.tells('<details class="fold" open>')
    done = await browser.send(
        "/account/security/password",
        current_password=PASSWORD,
        new_password="seven quiet otters sleep",
    )
    assert done.goes_to == "/sign-in?done=password-changed"
    assert (await phone.get("/account")).status == 303


async def test_an_authenticator_app_is_set_up_and_its_codes_are_shown_once(
    browser: Browser,
) -> None:
    assert (await browser.send("/account/security/start-totp")).goes_to == "/account/security/totp"
    page = await browser.get("/account/security/totp")
    app = App(page.secret.replace(" ", ""))
    assert page.tells("<svg")
    assert "style=" not in page.text
    wrong = await browser.send("/account/security/totp/confirm", code=app.wrong_code())
    assert wrong.status == 422
    assert wrong.secret == page.secret
    right = await browser.send("/account/security/totp/confirm", code=app.code())
    assert right.status == 200
    assert len(right.secret.split()) == 10
    assert (await browser.get("/account/security/totp")).goes_to == "/account/security"
    assert (await browser.get("/account/security")).tells("10 left")


async def test_nobody_adds_a_way_in_before_the_address_is_verified(
    api: Api, settings: Settings
) -> None:
    stranger = await api.sign_up()
    browser = await Browser(api, settings.origin, language="ko").sign_in(stranger.email)
    shown = await browser.send("/account/security/start-totp")
    assert shown.status == 403
    assert shown.tells("먼저 이메일 주소를 확인해 주세요.")


async def test_a_personal_token_is_shown_once_works_and_is_revoked(
    api: Api, browser: Browser
) -> None:
    made = await browser.send(
        "/account/sessions/tokens", name="backup", expires_in_days="7", everything="true"
    )
    assert made.status == 200
    token = made.secret
    assert (await api.me(token)).status == 200
    listed = await browser.get("/account/sessions")
    assert listed.tells("backup")
    assert not listed.tells(token)
    found = REVOKE.search(listed.text)
    assert found
    assert (await browser.send(found[1])).goes_to == "/account/sessions?done=token-revoked"
    assert (await api.me(token)).status == 401


async def test_a_token_with_nothing_ticked_may_do_nothing(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    made = await browser.send("/account/sessions/tokens", name="none", expires_in_days="7")
    assert made.status == 200
    assert await db.fetchval("SELECT scopes FROM personal_tokens") == []


async def test_the_address_changes_when_its_link_is_used(
    browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    asked = await browser.send("/account/email", email="new@example.com")
    assert asked.goes_to == "/account?done=email-asked"
    ticket = ticket_in((await letters_to(here, db, "new@example.com"))["confirm_email"])
    done = await browser.send(f"/confirm-email?ticket={ticket}")
    assert done.goes_to == "/account?done=email-changed"
    assert (await browser.get("/account")).tells("new@example.com")


async def test_a_verification_is_sent_again(
    api: Api, settings: Settings, here: Identity, db: asyncpg.Connection
) -> None:
    stranger = await api.sign_up()
    browser = await Browser(api, settings.origin).sign_in(stranger.email)
    assert (await browser.get("/account")).tells("not verified")
    await letters_to(here, db, stranger.email)
    assert (await browser.send("/account/email/verify")).goes_to.endswith("verification-sent")
    ticket = ticket_in((await letters_to(here, db, stranger.email))["verify_email"])
    await browser.send(f"/verify-email?ticket={ticket}")
    assert not (await browser.get("/account")).tells("not verified")


async def test_the_data_is_handed_over(browser: Browser, account: Account) -> None:
    shown = await browser.send("/account/data/export")
    assert shown.headers["Content-Disposition"].startswith("attachment")
    assert json.loads(shown.text)["data"]["profile"]["email"] == account.email


async def test_an_account_is_deleted_by_its_address_and_no_other(
    browser: Browser, account: Account, db: asyncpg.Connection
) -> None:
    wrong = await browser.send("/account/data/delete", confirmation="other@example.com")
    assert wrong.status == 422
    assert wrong.tells("This is not the address of your account.")
    assert await db.fetchval("SELECT count(*) FROM users") == 1
    done = await browser.send("/account/data/delete", confirmation=account.email)
    assert done.goes_to == "/sign-in?done=account-deleted"
    assert browser.cookies.keys() <= {"holdfast_device"}
    assert await db.fetchval("SELECT count(*) FROM users") == 0


async def test_what_somebody_calls_a_thing_is_no_markup(browser: Browser) -> None:
    await browser.send("/account/profile", name="<script>alert(1)</script>", language="en")
    shown = await browser.get("/account")
    assert "<script>alert" not in shown.text
    assert shown.tells("<script>alert(1)</script>")


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (PHONE, ("Chrome", "Android")),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5) Version/18.5 Safari/604.1",
            ("Safari", "iPhone"),
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140", ("Edge", "Windows")),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko Firefox/140.0", ("Firefox", "Linux")),
        ("curl/8.5.0", ("curl", "")),
        ("Mozilla/5.0", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_device_is_known_by_what_it_says(user_agent: str, device: tuple[str, str]) -> None:
    assert read_device(user_agent) == device
