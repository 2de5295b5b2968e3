"""The login history: complete, readable by its owner, and evident when it is touched."""

import asyncio
from ipaddress import ip_address

import asyncpg
import pytest

from holdfast.apps.identity.history.actions import record_logins, verify_history
from holdfast.apps.identity.history.rules import Attempt, BrokenChainError
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.tests.api import Account, Api

PATH = "/api/v1/users/me/logins"


async def test_list_logins_shows_every_attempt_newest_first(api: Api) -> None:
    account = await api.sign_up()
    await api.login(account.email, "wrong password")
    api.headers = {"User-Agent": "Pocket Radio/3"}
    await api.login(account.email)
    answer = await api.call("GET", PATH, token=account.access)
    outcomes = [login["outcome"] for login in answer.data]
    assert outcomes == ["succeeded", "wrong_password", "succeeded"]
    assert (answer.data[0]["device"], answer.data[0]["ip"]) == ("Pocket Radio/3", "127.0.0.1")


async def test_list_logins_by_pages_and_only_mine(api: Api) -> None:
    account, other = await api.sign_up(), await api.sign_up()
    await asyncio.gather(*(api.login(account.email) for _ in range(6)))
    first = await api.call("GET", f"{PATH}?limit=4", token=account.access)
    cursor = first.body["next_cursor"]
    rest = await api.call("GET", f"{PATH}?limit=4&cursor={cursor}", token=account.access)
    assert len({login["id"] for login in first.data + rest.data}) == 7
    assert len((await api.call("GET", PATH, token=other.access)).data) == 1


async def test_list_user_logins_is_for_those_who_may(api: Api, admin: Account) -> None:
    account = await api.sign_up()
    path = f"/api/v1/admin/users/{(await api.me(account)).data['id']}/logins"
    assert len((await api.call("GET", path, token=admin.access)).data) == 1
    assert (await api.call("GET", path, token=account.access)).status == 403


async def test_the_chain_holds_over_workers_and_partitions(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    await asyncio.gather(*(api.login(account.email) for _ in range(20)))
    assert await verify_history(here.db, here.secrets) == 21
    await db.execute(
        """UPDATE login_chains SET period = period - interval '56 days';
           CREATE TABLE login_history_old PARTITION OF login_history FOR VALUES FROM ('2000-01-03')
             TO (date_bin('28 days', now() - interval '28 days', '2000-01-03 00:00+00'));
           UPDATE login_history SET period = period - interval '56 days'"""
    )
    await api.login(account.email)
    assert await db.fetchval("SELECT count(*) FROM login_chains") == 2
    # The old chain's rows are in a partition of another name, as if it had been dropped.
    assert await verify_history(here.db, here.secrets) == 22


async def test_the_chain_holds_when_two_workers_take_turns(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    account = await api.sign_up()
    attempt = Attempt(b"an account", None, ip_address("203.0.113.7"), "another worker", "delayed")
    for turn in range(6):
        await api.login(account.email)
        if turn % 2:
            await record_logins(here, [attempt, attempt])
    assert await verify_history(here.db, here.secrets) == 13


@pytest.mark.parametrize(
    "touch",
    [
        "UPDATE login_history SET outcome = 'succeeded' WHERE position = 3",
        "UPDATE login_history SET at = at - interval '1 second' WHERE position = 3",
        "UPDATE login_history SET user_id = NULL WHERE position = 3",
        "UPDATE login_history SET ip = '10.0.0.1' WHERE position = 3",
        "DELETE FROM login_history WHERE position = 1",
        "DELETE FROM login_history WHERE position = 3",
        "DELETE FROM login_history WHERE position = 6",
        "DELETE FROM login_history",
        "DELETE FROM login_history WHERE position = 6; UPDATE login_chains SET length = 5",
    ],
)
async def test_a_touched_history_is_evident(
    api: Api, here: Identity, db: asyncpg.Connection, touch: str
) -> None:
    account = await api.sign_up()
    for _ in range(5):
        await api.login(account.email, "wrong password")
    assert await verify_history(here.db, here.secrets) == 6
    await db.execute(touch)
    with pytest.raises(BrokenChainError):
        await verify_history(here.db, here.secrets)


async def test_a_history_made_up_without_the_secret_is_evident(
    api: Api, here: Identity, db: asyncpg.Connection
) -> None:
    await api.sign_up()
    with pytest.raises(BrokenChainError):
        await verify_history(here.db, Secrets("another secret, which an intruder made up"))
