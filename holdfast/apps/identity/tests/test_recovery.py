"""A lost password: a link to the account's own address, good once, after which nobody else is in."""

import asyncio
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest

from holdfast.apps.identity.login.actions import enter
from holdfast.apps.identity.login.queries import select_person
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Answer, Api
from holdfast.apps.identity.tests.lanes import keep_closed
from holdfast.apps.identity.tests.post import letters_to, ticket_in
from holdfast.apps.identity.visitor import Visitor
from holdfast.core.errors import UnauthenticatedError

BETTER = "a new and better one"
RESET = "/api/v1/auth/reset"


async def ask(api: Api, email: str) -> Answer:
    return await api.call("POST", RESET, {"email": email})


async def set_new(api: Api, ticket: str, password: str = BETTER) -> Answer:
    body = {"ticket": ticket, "new_password": password}
    return await api.call("POST", f"{RESET}/confirm", body)


async def ticket_for(api: Api, here: Identity, db: asyncpg.Connection, email: str) -> str:
    assert (await ask(api, email)).status == 202
    return ticket_in((await letters_to(here, db, email))["reset_requested"])


@pytest.fixture
async def ada(api: Api, db: asyncpg.Connection) -> Account:
    """Somebody whose address is verified."""
    account = await api.sign_up("ada@example.com")
    await db.execute("UPDATE users SET email_verified_at = now()")
    return account


async def test_request_reset_answers_the_same_and_writes_the_same_for_every_address(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    known, unknown = await ask(api, ada.email), await ask(api, "nobody@example.com")
    assert (known.status, known.body) == (unknown.status, unknown.body) == (202, None)
    rows = await db.fetch("SELECT language, facts FROM mails WHERE template = 'reset_requested'")
    assert rows[0] == rows[1]
    assert "reset_requested" in await letters_to(here, db, ada.email)
    assert await letters_to(here, db, "nobody@example.com") == {}
    assert await db.fetchval("SELECT count(*) FROM mails WHERE sent_at IS NULL") == 0


async def test_request_reset_of_a_banned_account_sends_nothing(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE users SET banned_at = now()")
    assert (await ask(api, ada.email)).status == 202
    assert "reset_requested" not in await letters_to(here, db, ada.email)


async def test_request_reset_with_a_forged_host_makes_a_link_to_the_origin(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    body = b'{"email": "ada@example.com"}'
    address = urlsplit(api.url)
    request = (
        f"POST {RESET} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n"
        "Forwarded: host=evil.example\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 202 ")
    letter = (await letters_to(here, db, ada.email))["reset_requested"]
    assert letter.link is not None
    assert letter.link.startswith(f"{here.settings.origin}/reset-password?ticket=")
    assert await db.fetchval("SELECT count(*) FROM mails WHERE content LIKE '%evil%'") == 0


async def test_reset_password_works_once_and_ends_every_session(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    elsewhere = await api.sign_in(ada.email)
    ticket = await ticket_for(api, here, db, ada.email)
    assert (await set_new(api, ticket)).status == 204
    for session in (ada, elsewhere):
        assert (await api.me(session)).status == 401
        assert (await api.refresh(session.refresh)).status == 401
    assert (await api.login(ada.email)).status == 401
    assert (await api.login(ada.email, BETTER)).status == 200
    assert (await set_new(api, ticket, "yet another good one")).status == 401
    assert "password_changed" in await letters_to(here, db, ada.email)
    assert "password.reset" in {
        row["action"] for row in await db.fetch("SELECT action FROM audit_log")
    }


async def test_reset_password_by_many_at_once_lets_one_win(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    ticket = await ticket_for(api, here, db, ada.email)
    passwords = [f"a new and better one, number {number}" for number in range(8)]
    answers = await asyncio.gather(*(set_new(api, ticket, each) for each in passwords))
    assert sorted(answer.status for answer in answers) == [204] + [401] * 7
    won = passwords[[answer.status for answer in answers].index(204)]
    assert (await api.login(ada.email, won)).status == 200


async def test_reset_password_by_two_links_at_once_lets_one_win(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    tickets = [await ticket_for(api, here, db, ada.email) for _ in range(2)]
    answers = await asyncio.gather(*(set_new(api, ticket) for ticket in tickets))
    assert sorted(answer.status for answer in answers) == [204, 401]


async def test_reset_password_refuses_a_weak_one_and_keeps_the_link(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    ticket = await ticket_for(api, here, db, ada.email)
    weak = await set_new(api, ticket, "aaaaaaaaaaaaaaaaaaaa")
    assert weak.status == 422
    assert [error["field"] for error in weak.body["errors"]] == ["new_password"]
    assert (await set_new(api, ticket)).status == 204


async def test_reset_password_ends_delays_and_lets_the_owner_in(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    await keep_closed(db)
    for _ in range(8):
        await api.login(ada.email, "a wrong password")
    assert (await api.login(ada.email)).status == 429
    assert (await set_new(api, await ticket_for(api, here, db, ada.email))).status == 204
    assert (await api.login(ada.email, BETTER)).status == 200


async def test_reset_password_refuses_a_link_to_an_address_that_was_left(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    ticket = await ticket_for(api, here, db, ada.email)
    await db.execute("UPDATE users SET email = 'elsewhere@example.com'")
    assert (await set_new(api, ticket)).status == 401


async def test_reset_password_is_a_first_one_for_who_had_none(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    await db.execute("DELETE FROM credentials")
    assert (await set_new(api, await ticket_for(api, here, db, ada.email))).status == 204
    assert (await api.login(ada.email, BETTER)).status == 200


async def test_reset_password_leaves_nothing_to_whoever_registered_the_address_first(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    body = {"email": "ada@example.com", "password": PASSWORD, "name": "A stranger"}
    await api.call("POST", "/api/v1/auth/register", body)
    stranger = await api.sign_in("ada@example.com")
    user_id = await db.fetchval("SELECT id FROM users")
    await db.execute(LEFT_BEHIND.format(user_id=user_id))
    assert (await set_new(api, await ticket_for(api, here, db, "ada@example.com"))).status == 204
    assert (await api.me(stranger)).status == 401
    owner = await api.sign_in("ada@example.com", BETTER)
    me = (await api.me(owner)).data
    assert (me["name"], me["email_verified"]) == (None, True)
    for table in WAYS_IN:
        assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608


async def test_reset_password_of_a_verified_account_keeps_its_second_factor(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    await db.execute(LEFT_BEHIND.format(user_id=await db.fetchval("SELECT id FROM users")))
    assert (await set_new(api, await ticket_for(api, here, db, ada.email))).status == 204
    for table in WAYS_IN:
        kept = await db.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        assert kept == (table != "personal_tokens"), table
    answer = await api.login(ada.email, BETTER)
    assert answer.status == 401
    assert answer.body["type"] == "/problems/second-factor-required"


async def test_a_sign_in_by_the_old_password_during_a_reset_begins_no_session(
    ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    """Its password was checked before the reset, and its session would begin after it."""
    user_id: UUID = await db.fetchval("SELECT id FROM users")
    person = await select_person(here.db, user_id)
    assert person is not None
    visitor = Visitor(ip=await db.fetchval("SELECT '127.0.0.1'::inet"), device="", mark=None)
    async with db.transaction():
        await db.execute("SELECT FROM users FOR UPDATE")
        await db.execute("UPDATE credentials SET password_hash = 'new', changed_at = now()")
        entering = asyncio.create_task(enter(here, person, visitor, ("pwd",)))
        while await db.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 1:
            await asyncio.sleep(0.01)
        assert not entering.done()
        await db.execute("UPDATE sessions SET ended_at = now()")
    with pytest.raises(UnauthenticatedError):
        await entering
    assert await db.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 0


WAYS_IN = (
    "passkeys",
    "totp_secrets",
    "recovery_codes",
    "oauth_accounts",
    "personal_tokens",
)
LEFT_BEHIND = """
    INSERT INTO passkeys (credential_id, user_id, name, public_key, sign_count, transports, backed_up)
    VALUES ('c', '{user_id}', 'key', 'k', 0, '{{}}', false);
    INSERT INTO totp_secrets (user_id, sealed, confirmed_at) VALUES ('{user_id}', 's', now());
    INSERT INTO recovery_codes (user_id, hash) VALUES ('{user_id}', 'h');
    INSERT INTO oauth_accounts (provider, provider_id, user_id) VALUES ('github', '1', '{user_id}');
    INSERT INTO personal_tokens (user_id, name, expires_at)
    VALUES ('{user_id}', 'script', now() + interval '1 day')"""
