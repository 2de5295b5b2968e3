"""Mails: written once, sent by a real mail server, tried again when it is away, kept without one."""

import ast
import asyncio
import os
import ssl
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.mail.jobs import send_for_ever, send_waiting
from holdfast.apps.identity.mail.queries import update_mails_given_up
from holdfast.apps.identity.mail.rules import LINKS, WORDS, write_letter
from holdfast.apps.identity.main import service
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Api, served
from holdfast.apps.identity.tests.post import Inbox, letters_to, office_of
from holdfast.cli.servers import free_port
from holdfast.core.limits import Limit
from holdfast.core.settings import Settings, SettingsError
from holdfast.core.web import build
from holdfast.shell.language import LANGUAGES

NOTICE = "password_changed"


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content())


async def due_again(db: asyncpg.Connection) -> None:
    await db.execute("UPDATE mails SET next_attempt_at = now() WHERE sent_at IS NULL")


async def state_of(db: asyncpg.Connection) -> tuple[bool, bool, str | None]:
    (row,) = await db.fetch("SELECT sent_at, given_up_at, last_error FROM mails")
    return row["sent_at"] is not None, row["given_up_at"] is not None, row["last_error"]


async def test_a_mail_goes_out_in_the_language_of_its_reader(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    inbox, body = Inbox(), {"password": "correct horse battery staple"}
    for language in ("en-GB, ko;q=0.5", "ko-KR, en;q=0.5"):
        email = f"{language[:2]}@example.com"
        headers = {"Accept-Language": language}
        path = "/api/v1/auth/register"
        await api.call("POST", path, {**body, "email": email}, headers=headers)
    async with inbox.serving() as port:
        await send_waiting(office_of(here, smtp_url=f"smtp://127.0.0.1:{port}"))
    (english,), (korean,) = inbox.to("en@example.com"), inbox.to("ko@example.com")
    assert english["Subject"] == WORDS["verify_email"]["en"].subject
    assert korean["Subject"] == WORDS["verify_email"]["ko"].subject
    for message in (english, korean):
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["From"].endswith("<no-reply@localhost>")
        link = f"{here.settings.origin}/verify-email?ticket=hft_"
        assert link in text_of(message, "plain")
        assert f'href="{link}' in text_of(message, "html")
    assert "본인의 주소" in text_of(korean, "plain")


async def test_waiting_mails_share_a_connection(here: Identity) -> None:
    inbox = Inbox()
    for number in range(10):
        await post(here.db, NOTICE, f"person{number}@example.com", "en")
    async with inbox.serving() as port:
        taken = await send_waiting(office_of(here, smtp_url=f"smtp://127.0.0.1:{port}"))
    assert (taken, len(inbox.received), inbox.connections) == (10, 10, 1)


async def test_two_senders_at_once_send_each_mail_once(
    here: Identity, db: asyncpg.Connection
) -> None:
    inbox = Inbox()
    expected = [f"person{number}@example.com" for number in range(40)]
    for email in expected:
        await post(here.db, NOTICE, email, "en")
    async with inbox.serving() as port:
        office = office_of(here, smtp_url=f"smtp://127.0.0.1:{port}")
        taken = await asyncio.gather(send_waiting(office), send_waiting(office))
    assert sorted(message["To"] for message in inbox.received) == sorted(expected)
    assert sum(taken) == 40
    assert await db.fetchval("SELECT bool_and(sent_at IS NOT NULL) FROM mails")


async def test_a_mail_waits_while_the_server_is_away(
    here: Identity, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    inbox, port = Inbox(), free_port()
    await post(here.db, NOTICE, "ada@example.com", "en")
    sending = asyncio.create_task(
        send_for_ever(office_of(here, smtp_url=f"smtp://127.0.0.1:{port}"))
    )
    while "Mails wait" not in caplog.text:
        await asyncio.sleep(0.01)
    assert await state_of(db) == (False, False, None)
    async with inbox.serving(port), asyncio.timeout(60):
        while not inbox.received:
            await asyncio.sleep(0.05)
        while not (await state_of(db))[0]:
            await asyncio.sleep(0.05)
    sending.cancel()
    with suppress(asyncio.CancelledError):  # or it ends by itself: see `is_cancelled`
        await sending
    assert len(inbox.received) == 1


async def test_the_jobs_process_sends_mails(
    here: Identity, db: asyncpg.Connection, environ: dict[str, str]
) -> None:
    inbox = Inbox()
    await post(here.db, NOTICE, "ada@example.com", "en")
    async with inbox.serving() as port:
        told = {**environ, "HOLDFAST_IDENTITY_SMTP_URL": f"smtp://127.0.0.1:{port}"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast.cli.main", "jobs", "identity"),
            env={**os.environ, **told},
        )
        async with asyncio.timeout(60):
            while not (await state_of(db))[0]:
                assert process.returncode is None
                await asyncio.sleep(0.05)
            process.terminate()
            assert await process.wait() == 0
    assert [message["To"] for message in inbox.received] == ["ada@example.com"]


async def test_a_refusal_for_now_is_tried_again(here: Identity, db: asyncpg.Connection) -> None:
    inbox = Inbox(refusals={"ada@example.com": "451 4.7.1 Greylisted, try again later"})
    await post(here.db, NOTICE, "ada@example.com", "en")
    async with inbox.serving() as port:
        office = office_of(here, smtp_url=f"smtp://127.0.0.1:{port}")
        assert await send_waiting(office) == 1
        sent, given_up, reason = await state_of(db)
        assert (sent, given_up) == (False, False)
        assert reason is not None
        assert reason.startswith("451 ")
        assert await send_waiting(office) == 0  # not before its pause is over
        pause = "SELECT extract(epoch FROM next_attempt_at - now())::float8 FROM mails"
        first = await db.fetchval(pause)
        await due_again(db)
        await send_waiting(office)
        assert await db.fetchval(pause) > first * 1.5
        inbox.refusals.clear()
        await due_again(db)
        await send_waiting(office)
    assert await state_of(db) == (True, False, None)
    assert len(inbox.received) == 1


async def test_a_refusal_for_good_is_given_up_and_holds_up_no_other(
    here: Identity, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox(refusals={"gone@example.com": "550 5.1.1 No such user gone@example.com"})
    await post(here.db, NOTICE, "gone@example.com", "en")
    await post(here.db, NOTICE, "ada@example.com", "en")
    async with inbox.serving() as port:
        office = office_of(here, smtp_url=f"smtp://127.0.0.1:{port}")
        assert await send_waiting(office) == 2
        await due_again(db)
        assert await send_waiting(office) == 0
    assert [message["To"] for message in inbox.received] == ["ada@example.com"]
    (unsent,) = await db.fetch("SELECT given_up_at, last_error FROM mails WHERE sent_at IS NULL")
    assert unsent["given_up_at"] is not None
    assert unsent["last_error"].startswith("550 ")
    assert "was refused" in caplog.text
    assert "gone@example.com" not in caplog.text


@pytest.mark.parametrize("email", ["ü@example.com", "ada@münchen.example", ".@example.com"])
async def test_an_address_that_the_server_cannot_take_is_given_up(
    here: Identity, db: asyncpg.Connection, email: str
) -> None:
    await post(here.db, NOTICE, email, "en")
    async with Inbox().serving(enable_SMTPUTF8=False) as port:
        await send_waiting(office_of(here, smtp_url=f"smtp://127.0.0.1:{port}"))
    sent, given_up, _ = await state_of(db)
    assert (sent, given_up) == (False, True)


async def test_a_mail_that_cannot_be_written_holds_up_no_other(
    here: Identity, db: asyncpg.Connection
) -> None:
    await post(here.db, "from_a_newer_version", "ada@example.com", "en")
    await post(here.db, NOTICE, "bob@example.com", "en")
    assert await send_waiting(office_of(here)) == 2
    rows = await db.fetch("SELECT template, sent_at, last_error FROM mails ORDER BY id")
    assert [row["sent_at"] is None for row in rows] == [True, False]
    assert rows[0]["last_error"] == "KeyError"


async def test_a_mail_is_given_up_after_a_day(here: Identity, db: asyncpg.Connection) -> None:
    for email in ("old@example.com", "new@example.com"):
        await post(here.db, NOTICE, email, "en")
    await db.execute(
        "CREATE TABLE mails_of_old PARTITION OF mails"
        " FOR VALUES FROM ('2000-01-01') TO ('2000-01-02')"
    )
    await db.execute("UPDATE mails SET created_at = '2000-01-01' WHERE recipient LIKE 'old%'")
    assert await update_mails_given_up(here.db) == 1
    assert await send_waiting(office_of(here)) == 1
    assert await db.fetchval("SELECT recipient FROM mails WHERE given_up_at IS NOT NULL") == (
        "old@example.com"
    )


async def test_a_mailbox_is_not_flooded_by_who_knows_its_address(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    limited = replace(office_of(here), mailbox=Limit("mailbox", 3, 3600, "user"))
    for _ in range(10):
        body = {"email": account.email}
        assert (await api.call("POST", "/api/v1/auth/reset", body)).status == 202
    await send_waiting(limited)
    kept = await db.fetchval("SELECT count(content) FROM mails WHERE template = 'reset_requested'")
    assert kept == 3
    assert await db.fetchval("SELECT count(*) FROM mails WHERE sent_at IS NULL") == 0


async def test_credentials_are_not_sent_in_clear_text(
    here: Identity, db: asyncpg.Connection
) -> None:
    inbox = Inbox()
    await post(here.db, NOTICE, "ada@example.com", "en")
    async with inbox.serving(auth_required=False) as port:
        office = office_of(here, smtp_url=f"smtp://user:secret@127.0.0.1:{port}")
        with pytest.raises(Exception, match="STARTTLS"):
            await send_waiting(office)
    assert inbox.received == []
    assert await state_of(db) == (False, False, None)


async def test_a_certificate_of_its_own_making_is_good_enough_for_mails_and_for_no_password(
    here: Identity, db: asyncpg.Connection, tmp_path: Path
) -> None:
    inbox = Inbox()
    await post(here.db, NOTICE, "ada@example.com", "en")
    async with inbox.serving(tls_context=own_certificate(tmp_path), require_starttls=True) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await send_waiting(office_of(here, smtp_url=f"smtp://user:secret@127.0.0.1:{port}"))
        assert inbox.received == []
        await send_waiting(office_of(here, smtp_url=f"smtp://127.0.0.1:{port}"))
    assert len(inbox.received) == 1
    assert await state_of(db) == (True, False, None)


def own_certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_new_device_is_told_to_who_was_here_before(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await db.execute("UPDATE users SET email_verified_at = now()")
    assert "new_device" not in await letters_to(here, db, account.email)
    await api.login(account.email, device=account.device)
    assert "new_device" not in await letters_to(here, db, account.email)
    api.headers["User-Agent"] = "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0"
    await api.login(account.email)
    letter = (await letters_to(here, db, account.email))["new_device"]
    assert "Device: Firefox on Windows. Network address: 127.0.0.1." in letter.before


async def test_the_first_device_is_no_news(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    body = {"email": "ada@example.com", "password": "correct horse battery staple"}
    await api.call("POST", "/api/v1/auth/register", body)
    await db.execute("UPDATE users SET email_verified_at = now()")
    await api.sign_in("ada@example.com")
    assert await db.fetchval("SELECT count(*) FROM mails WHERE template = 'new_device'") == 1
    assert "new_device" not in await letters_to(here, db, "ada@example.com")


async def test_the_mails_are_shown_in_development(api: Api, here: Identity) -> None:
    await api.sign_up("ada@example.com")
    await send_waiting(office_of(here))
    headers = {"Host": "localhost:8000", "Accept-Language": "ko"}
    async with api.http.get(f"{api.url}/mail", headers=headers) as response:
        listed = await response.text()
        assert response.status == 200
        assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
    assert "받는 사람: ada@example.com" in listed
    path = listed.split('href="/mail/')[1].split('"')[0]
    async with api.http.get(f"{api.url}/mail/{path}", headers=headers) as response:
        assert f'href="{here.settings.origin}/verify-email?ticket=hft_' in await response.text()


async def test_the_mails_are_shown_nowhere_else(environ: dict[str, str]) -> None:
    settings = Settings.load(environ | {"HOLDFAST_PROFILE": "staging"})
    async with served(build(settings, service(settings, Options()))) as url, Api.at(url) as api:
        for path in ("/mail", "/mail/0199a8f1-02d7-7e10-8b35-c4d2a9e6f001"):
            async with api.http.get(url + path, headers={"Host": "localhost:8000"}) as response:
                assert response.status == 404


def test_production_refuses_to_start_without_a_mail_server(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"HOLDFAST_PROFILE": "production", "HOLDFAST_ORIGIN": "https://id.example.com"}
    settings = Settings.load({**environ, **told, "HOLDFAST_LIMITS": "on"})
    monkeypatch.delenv("HOLDFAST_IDENTITY_SMTP_URL", raising=False)
    with pytest.raises(SettingsError, match="HOLDFAST_IDENTITY_SMTP_URL is not set"):
        Options.of(settings)
    monkeypatch.setenv("HOLDFAST_IDENTITY_SMTP_URL", "smtp://user:secret@mail.example.com:587")
    assert Options.of(settings).smtp_url is not None


@pytest.mark.parametrize(
    "url", ["http://mail", "smtp://", "smtp://user:se/cret@mail", "smtp://user@mail", "mail:25"]
)
def test_a_wrong_mail_server_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Options.load({"HOLDFAST_IDENTITY_SMTP_URL": url})
    assert "HOLDFAST_IDENTITY_SMTP_URL" in str(refused.value)
    assert "se/cret" not in str(refused.value)


def test_every_mail_that_is_posted_has_words_in_every_language(repository: Path) -> None:
    posted = {
        str(call.args[1].value)
        for path in (repository / "holdfast/apps/identity").glob("*/actions.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "post"
        and isinstance(call.args[1], ast.Constant)
    }
    assert {"verify_email", "confirm_email", "reset_requested"} <= posted
    for template in posted | {"register_repeated", "new_device"}:
        assert WORDS[template].keys() == LANGUAGES.keys()
        for words in WORDS[template].values():
            assert (words.button is not None) == (template in LINKS)


def test_a_letter_makes_no_link_of_what_a_device_says_of_itself() -> None:
    facts = {"device": "https://evil.example Mozilla", "ip": "203.0.113.7"}
    at = datetime(2027, 3, 1, tzinfo=UTC)
    letter = write_letter("new_device", "en", facts, None, at)
    assert "evil" not in " ".join(letter.before)
    facts["device"] = "evil.example/1"
    assert "evil" not in " ".join(write_letter("new_device", "en", facts, None, at).before)
