"""What identity shows of itself: what waits for the background jobs, and how sign-ins ended."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from holdfast.apps.identity import gauges
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tests.api import Api
from holdfast.core.telemetry.metrics import Registry


@asynccontextmanager
async def showing(here: Identity) -> AsyncIterator[dict[str, float]]:
    registry = Registry()
    task = asyncio.create_task(gauges.show_mails_for_ever(here.db, registry))
    while "holdfast_mails_oldest_waiting_seconds{" not in registry.render():  # the last one set
        await asyncio.sleep(0.01)
    try:
        shown = re.findall(r"^(holdfast_\S+) (\S+)$", registry.render(), re.MULTILINE)
        yield {name: float(value) for name, value in shown}
    finally:
        task.cancel()


async def test_what_waits_is_counted_with_its_age(here: Identity, db: asyncpg.Connection) -> None:
    for to in ("a@example.com", "b@example.com", "c@example.com"):
        await post(here.db, "verify_email", to, "en")
    await db.execute("UPDATE mails SET given_up_at = now() WHERE recipient = 'a@example.com'")
    await db.execute(
        "UPDATE mails SET created_at = now() - interval '7 s' WHERE recipient = 'b@example.com'"
    )
    async with showing(here) as shown:
        assert shown['holdfast_mails{app="identity",state="waiting"}'] == 2
        assert shown['holdfast_mails{app="identity",state="given_up"}'] == 1
        assert 7 <= shown['holdfast_mails_oldest_waiting_seconds{app="identity"}'] < 7 + 60


async def test_where_nothing_waits_there_is_no_age(here: Identity) -> None:
    async with showing(here) as shown:
        assert shown['holdfast_mails_oldest_waiting_seconds{app="identity"}'] == 0


async def test_login_attempts_are_counted_by_how_they_ended(api: Api) -> None:
    outcomes = ("succeeded", "wrong_password", "unknown_account")
    before = {outcome: gauges.attempts.of(outcome).value for outcome in outcomes}
    account = await api.sign_up()  # which signs in once
    await api.login(account.email, "not the password")
    await api.login("nobody@example.com")
    await api.login("nobody@example.com")
    after = {outcome: gauges.attempts.of(outcome).value for outcome in outcomes}
    counted = [after[outcome] - before[outcome] for outcome in outcomes]
    assert counted == [1, 1, 2]
