"""E-mail addresses: verified by a link that arrived, and changed only by one that did."""

import asyncio

import asyncpg
import pytest

from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import PASSWORD, Account, Answer, Api
from holdfast.apps.identity.tests.post import letters_to, ticket_in

NEW = "new@example.com"


async def verify(api: Api, ticket: str) -> Answer:
    return await api.call("POST", "/api/v1/auth/verify-email", {"ticket": ticket})


async def confirm(api: Api, ticket: str) -> Answer:
    return await api.call("POST", "/api/v1/auth/confirm-email", {"ticket": ticket})


async def ask_for(api: Api, account: Account, email: str) -> Answer:
    body = {"email": email}
    return await api.call("POST", "/api/v1/users/me/email", body, token=account.access)


@pytest.fixture
async def ada(api: Api, db: asyncpg.Connection) -> Account:
    """Somebody whose address is verified."""
    account = await api.sign_up("ada@example.com")
    await db.execute("UPDATE users SET email_verified_at = now()")
    return await api.sign_in(account.email)


async def test_verify_email_is_seen_at_once_and_works_once(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    assert (await api.me(account)).data["email_verified"] is False
    ticket = ticket_in((await letters_to(here, db, account.email))["verify_email"])
    assert (await verify(api, ticket)).status == 204
    assert (await api.me(account)).data["email_verified"] is True
    assert (await verify(api, ticket)).status == 401
    assert await db.fetchval("SELECT count(*) FROM outbox WHERE type = 'user.verified'") == 1
    assert await db.fetchval("SELECT action FROM audit_log") == "email.verified"


async def test_verify_email_refuses_what_is_invented_foreign_or_late(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await api.call("POST", "/api/v1/auth/reset", {"email": account.email})
    letters = await letters_to(here, db, account.email)
    ticket = ticket_in(letters["verify_email"])
    for wrong in ("x", "hft_", ticket[:-1], ticket + "A", ticket_in(letters["reset_requested"])):
        assert (await verify(api, wrong)).status == 401
    await db.execute("UPDATE users SET email = 'other@example.com'")
    assert (await verify(api, ticket)).status == 401
    assert await db.fetchval("SELECT email_verified_at FROM users") is None


async def test_verify_email_refuses_who_is_banned(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    ticket = ticket_in((await letters_to(here, db, account.email))["verify_email"])
    await db.execute("UPDATE users SET banned_at = now()")
    assert (await verify(api, ticket)).status == 401


async def test_resend_verification_until_the_address_is_verified(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    first = ticket_in((await letters_to(here, db, account.email))["verify_email"])
    path = "/api/v1/users/me/verification"
    assert (await api.call("POST", path, token=account.access)).status == 202
    second = ticket_in((await letters_to(here, db, account.email))["verify_email"])
    assert first != second
    assert (await verify(api, second)).status == 204
    assert (await verify(api, first)).status == 204
    assert (await api.call("POST", path, token=account.access)).status == 409
    assert (await api.call("POST", path)).status == 401
    assert await db.fetchval("SELECT count(*) FROM outbox WHERE type = 'user.verified'") == 1


async def test_change_email_changes_nothing_until_it_is_confirmed(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    assert (await ask_for(api, ada, "NEW@Example.com")).status == 202
    assert (await api.me(ada)).data["email"] == ada.email
    assert "email_change_requested" in await letters_to(here, db, ada.email)
    ticket = ticket_in((await letters_to(here, db, NEW))["confirm_email"])
    assert (await confirm(api, ticket)).status == 204
    me = (await api.me(ada)).data
    assert (me["email"], me["email_verified"]) == (NEW, True)
    assert "email_changed" in await letters_to(here, db, ada.email)
    assert (await api.login(ada.email)).status == 401
    assert (await api.login(NEW)).status == 200
    assert (await confirm(api, ticket)).status == 401


async def test_change_email_answers_the_same_for_a_taken_address(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    other = await api.sign_up()
    free, taken = await ask_for(api, ada, NEW), await ask_for(api, ada, other.email)
    assert (free.status, free.body) == (taken.status, taken.body) == (202, None)
    assert "confirm_email" in await letters_to(here, db, NEW)
    assert "confirm_email" not in await letters_to(here, db, other.email)


async def test_change_email_refuses_ones_own_and_odd_addresses(api: Api, ada: Account) -> None:
    assert (await ask_for(api, ada, "ADA@example.com")).status == 409
    for odd in ("x<victim@example.com", "a,b@example.com", "a@b@example.com", '"a"@example.com'):
        assert (await ask_for(api, ada, odd)).status == 422


async def test_change_email_needs_a_fresh_proof(
    api: Api, ada: Account, db: asyncpg.Connection
) -> None:
    late = await api.sign_in(ada.email)
    await db.execute("UPDATE sessions SET authenticated_at = now() - interval '1 hour'")
    answer = await ask_for(api, late, NEW)
    assert answer.status == 401
    assert "insufficient_user_authentication" in answer.headers["WWW-Authenticate"]
    assert await db.fetchval("SELECT count(*) FROM mails WHERE recipient = $1", NEW) == 0


async def test_confirm_email_refuses_an_address_that_was_taken_meanwhile(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    await ask_for(api, ada, NEW)
    ticket = ticket_in((await letters_to(here, db, NEW))["confirm_email"])
    await api.sign_up(NEW)
    assert (await confirm(api, ticket)).status == 409
    assert (await api.me(ada)).data["email"] == ada.email


async def test_confirm_email_by_two_at_once_gives_the_address_to_one(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    bob = await api.sign_up()
    tickets = []
    for account in (ada, bob):
        await ask_for(api, account, NEW)
        tickets.append(ticket_in((await letters_to(here, db, NEW))["confirm_email"]))
    answers = await asyncio.gather(*(confirm(api, ticket) for ticket in tickets))
    assert sorted(answer.status for answer in answers) == [204, 409]
    assert await db.fetchval("SELECT count(*) FROM users WHERE email = $1", NEW) == 1


async def test_confirm_email_ends_links_to_the_old_address_and_no_session(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    await api.call("POST", "/api/v1/auth/reset", {"email": ada.email})
    await ask_for(api, ada, NEW)
    reset = ticket_in((await letters_to(here, db, ada.email))["reset_requested"])
    assert (
        await confirm(api, ticket_in((await letters_to(here, db, NEW))["confirm_email"]))
    ).status == 204
    body = {"ticket": reset, "new_password": "a new and better one"}
    assert (await api.call("POST", "/api/v1/auth/reset/confirm", body)).status == 401
    assert (await api.me(ada)).status == 200


async def test_a_new_password_ends_a_change_of_address_that_a_thief_began(
    api: Api, ada: Account, here: Identity, db: asyncpg.Connection
) -> None:
    await ask_for(api, ada, "thief@example.com")
    letters = await letters_to(here, db, "thief@example.com")
    body = {"current_password": PASSWORD, "new_password": "a new and better one"}
    path = "/api/v1/users/me/password"
    assert (await api.call("POST", path, body, token=ada.access)).status == 204
    assert (await confirm(api, ticket_in(letters["confirm_email"]))).status == 401
    assert "password_changed" in await letters_to(here, db, ada.email)
