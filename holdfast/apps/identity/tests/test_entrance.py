"""The pages by which people come in and go out: who gets in, what they are told, what is left."""

import asyncio
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
import yaml

from holdfast.apps import identity
from holdfast.apps.identity.main import service
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Api
from holdfast.apps.identity.tests.authenticator_app import add_app, sign_up_verified
from holdfast.apps.identity.tests.browser import Browser
from holdfast.apps.identity.tests.lanes import keep_closed
from holdfast.apps.identity.tests.post import letters_to, ticket_in
from holdfast.core.errors import ProblemError, problem_name
from holdfast.core.settings import Settings

NEW_PASSWORD = "seven quiet otters sleep"
IDENTITY = Path(identity.__file__).parent
# They are answered by a redirect, only ever told to programs, or told as what they are a case of.
FOR_PROGRAMS = {
    *("signed-out", "step-up-required"),
    *("o-auth", "invalid-grant", "invalid-client", "insufficient-scope", "token-refused"),
    *("database-busy", "keys-away", "identity-away", "breaker-open"),
    *("head-too-large", "unreadable"),  # no browser sends it
}
OURS = ("holdfast.core.", "holdfast.apps.identity.")  # other apps have pages of their own
WEAK = {
    "short": "15자 이상",
    "abcabcabcabcabcabc": "반복되거나",
    "password12345678!!": "흔한 비밀번호",
    "ada.lovelace@example.com": "이메일 주소나 서비스 이름",
}


@pytest.fixture
def browser(api: Api, settings: Settings) -> Browser:
    return Browser(api, settings.origin)


@pytest.fixture
def korean(api: Api, settings: Settings) -> Browser:
    return Browser(api, settings.origin, language="ko")


async def test_sign_in_goes_on_to_where_it_was_needed(api: Api, browser: Browser) -> None:
    account = await api.sign_up()
    asked = await browser.get("/account/sessions?before=x")
    assert asked.status == 303
    assert asked.goes_to == "/sign-in?next=%2Faccount%2Fsessions%3Fbefore%3Dx"
    shown = await browser.send(asked.goes_to, email=account.email, password=PASSWORD)
    assert (shown.status, shown.goes_to) == (303, "/account/sessions?before=x")


@pytest.mark.parametrize(
    "path", ["https://evil.example/", "//evil.example", "/\\evil.example", "account", ""]
)
async def test_sign_in_goes_to_no_other_site(api: Api, browser: Browser, path: str) -> None:
    account = await api.sign_up()
    address = f"/sign-in?next={quote(path, safe='')}"
    shown = await browser.send(address, email=account.email, password=PASSWORD)
    assert shown.goes_to == "/account"


async def test_sign_in_gives_a_cookie_that_scripts_and_other_sites_do_not_see(
    api: Api, browser: Browser
) -> None:
    account = await api.sign_up()
    shown = await browser.send("/sign-in", email=account.email, password=PASSWORD)
    cookie = shown.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert (await browser.get("/account")).tells(account.email)


async def test_a_wrong_password_is_told_in_the_language_of_the_reader(
    api: Api, korean: Browser
) -> None:
    account = await api.sign_up()
    shown = await korean.send("/sign-in", email=account.email, password="wrong<'secret")
    assert shown.status == 401
    assert shown.tells("이메일 주소 또는 비밀번호가 올바르지 않습니다.")
    assert not shown.tells("The e-mail address or the password is wrong.")
    assert shown.tells(f'value="{account.email}"')
    assert not shown.tells("wrong<'secret")


async def test_fields_say_what_is_wrong_with_them(browser: Browser) -> None:
    shown = await browser.send("/register", email="nobody", name="Ada")
    assert shown.status == 422
    assert shown.tells("Enter an e-mail address, like name@example.com.")
    assert shown.tells("Enter your password.")
    assert shown.tells('value="Ada"')
    assert shown.text.count('aria-invalid="true"') == 2


@pytest.mark.parametrize(("password", "words"), WEAK.items())
async def test_a_weak_password_is_explained_in_korean(
    korean: Browser, password: str, words: str
) -> None:
    shown = await korean.send("/register", email="ada.lovelace@example.com", password=password)
    assert shown.status == 422
    assert shown.tells(words)


async def test_a_form_of_another_site_is_refused_and_leaves_no_trace(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    before = await db.fetchval("SELECT count(*) FROM login_history")
    shown = await browser.send(
        "/sign-in", origin="https://evil.example", email=account.email, password=PASSWORD
    )
    assert shown.status == 403
    assert shown.tells("This form did not come from a page of this service.")
    assert "Set-Cookie" not in shown.headers
    assert await db.fetchval("SELECT count(*) FROM login_history") == before


async def test_a_form_without_any_origin_is_refused(api: Api, browser: Browser) -> None:
    account = await api.sign_up()
    await browser.sign_in(account.email)
    shown = await browser.send("/sign-out", origin="null")
    assert shown.status == 403
    assert (await browser.get("/account")).status == 200


async def test_whoever_has_a_second_factor_gives_it_too(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    account = await sign_up_verified(api, db)
    app = await add_app(api, db, account)
    first = await browser.send(
        "/sign-in?next=/account/data", email=account.email, password=PASSWORD
    )
    assert first.status == 303
    assert first.goes_to.startswith("/sign-in/second-factor?")
    assert (await browser.get("/account")).goes_to.startswith("/sign-in")
    wrong = await browser.send(first.goes_to, code=app.wrong_code())
    assert wrong.status == 401
    assert wrong.tells("The code is wrong, too old, or used.")
    right = await browser.send(first.goes_to, code=app.code())
    assert (right.status, right.goes_to) == (303, "/account/data")
    assert (await browser.get("/account")).status == 200


async def test_too_many_failures_are_told_how_long_to_wait(
    api: Api, korean: Browser, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    account = await api.sign_up()
    for _ in range(5):
        await korean.send("/sign-in", email=account.email, password="wrong")
    shown = await korean.send("/sign-in", email=account.email, password=PASSWORD)
    assert shown.status == 429
    assert int(shown.headers["Retry-After"]) >= 1
    assert shown.tells("초 뒤에 다시 시도하세요.")


async def test_a_banned_person_is_told_the_reason(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await db.execute("UPDATE users SET banned_at = now(), ban_reason = 'Sold <fakes>'")
    shown = await browser.send("/sign-in", email=account.email, password=PASSWORD)
    assert shown.status == 403
    assert shown.tells("This account was closed by an administrator. Sold <fakes>")
    assert "<fakes>" not in shown.text


async def test_sign_out_ends_the_session_everywhere(api: Api, browser: Browser) -> None:
    account = await api.sign_up()
    await browser.sign_in(account.email)
    copy = Browser(api, browser.origin, cookies=dict(browser.cookies))
    assert (await browser.send("/sign-out")).goes_to == "/sign-in?done=signed-out"
    assert (await copy.get("/account")).goes_to.startswith("/sign-in")


async def test_a_form_of_somebody_signed_out_comes_back_to_its_page(browser: Browser) -> None:
    shown = await browser.send("/account/profile", name="Ada")
    assert (shown.status, shown.goes_to) == (303, "/sign-in?next=%2Faccount")


async def test_what_matters_asks_for_a_fresh_proof(
    api: Api, browser: Browser, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await browser.sign_in(account.email)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '1 hour'")
    asked = await browser.send("/account/data/export")
    assert asked.goes_to == "/step-up?next=%2Faccount%2Fdata"
    assert (await browser.send(asked.goes_to, password="wrong")).status == 401
    proved = await browser.send(asked.goes_to, password=PASSWORD)
    assert (proved.status, proved.goes_to) == (303, "/account/data")
    assert (await browser.send("/account/data/export")).status == 200


async def test_pages_are_read_at_the_origin_only(browser: Browser) -> None:
    shown = await browser.get("/sign-in", host="127.0.0.1:8000", next="/account/data")
    assert shown.status == 307
    assert shown.goes_to == f"{browser.origin}/sign-in?next=/account/data"


async def test_pages_are_kept_nowhere_and_load_nothing_from_elsewhere(browser: Browser) -> None:
    shown = await browser.get("/sign-in")
    assert shown.headers["Cache-Control"] == "no-store"
    assert shown.headers["Referrer-Policy"] == "same-origin"
    assert "default-src 'self'" in shown.headers["Content-Security-Policy"]
    assert "unsafe" not in shown.headers["Content-Security-Policy"]
    assert "//" not in shown.text.replace(f"{browser.origin}/", "").replace("<!--", "")


async def test_the_other_language_is_a_link_to_the_same_page(browser: Browser) -> None:
    shown = await browser.get("/reset-password", ticket="a b")
    assert shown.tells("/reset-password?ticket=a+b&lang=ko")


async def test_a_link_that_is_only_looked_at_is_not_used_up(
    api: Api, browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    await browser.send("/register", email="ada@example.com", password=NEW_PASSWORD)
    link = (await letters_to(here, db, "ada@example.com"))["verify_email"]
    address = f"/verify-email?ticket={ticket_in(link)}"
    for _ in range(3):
        assert (await browser.get(address)).status == 200
    used = await browser.send(address)
    assert used.goes_to == "/sign-in?done=email-verified"
    again = await browser.send(address)
    assert again.status == 401
    assert again.tells("This link or step is not valid any more")


async def test_a_forgotten_password_is_replaced_by_mail(
    api: Api, browser: Browser, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    assert (await browser.send("/reset", email=account.email)).goes_to == "/reset/sent"
    link = (await letters_to(here, db, account.email))["reset_requested"]
    address = f"/reset-password?ticket={ticket_in(link)}"
    weak = await browser.send(address, new_password="aaaaaaaaaaaaaaaa")
    assert weak.status == 422
    done = await browser.send(address, new_password=NEW_PASSWORD)
    assert done.goes_to == "/sign-in?done=password-reset"
    assert (await browser.get(done.goes_to)).tells("The new password is set.")
    await browser.sign_in(account.email, NEW_PASSWORD)


async def test_reset_says_the_same_of_every_address(api: Api, browser: Browser) -> None:
    account = await api.sign_up()
    known, unknown = await asyncio.gather(
        browser.send("/reset", email=account.email),
        browser.send("/reset", email="nobody@example.com"),
    )
    assert (known.status, known.goes_to) == (unknown.status, unknown.goes_to)


async def test_a_problem_that_came_along_is_told(korean: Browser) -> None:
    shown = await korean.get("/sign-in", problem="ticket-refused")
    assert shown.tells("유효 시간이 지난 링크")
    assert (await korean.get("/sign-in", problem="made<up>")).status == 200


async def test_a_fault_of_ours_is_a_page_too(
    api: Api, korean: Browser, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await korean.sign_in(account.email)
    await db.execute("DROP TABLE personal_tokens")
    shown = await korean.get("/account/sessions")
    assert shown.status == 500
    assert shown.tells("서버에서 오류가 발생했습니다.")


def every_problem(kind: type[ProblemError] = ProblemError) -> set[type[ProblemError]]:
    below = set(kind.__subclasses__())
    return below.union(*(every_problem(one) for one in below))


def test_every_problem_that_a_page_can_meet_has_words(settings: Settings) -> None:
    service(settings)  # whose routes know every problem there is
    known = {key for folder in IDENTITY.glob("**/pages") for key in words_in(folder)}
    names = {
        problem_name(kind)
        for kind in every_problem()
        if kind.__module__.startswith(OURS) and "tests" not in kind.__module__
    }
    missing = {name for name in names - FOR_PROGRAMS if f"problem_{name}" not in known}
    assert not missing, "words.yaml needs problem_... for each"


def words_in(folder: Path) -> set[str]:
    return set(yaml.safe_load((folder / "words.yaml").read_text(encoding="utf-8")))
