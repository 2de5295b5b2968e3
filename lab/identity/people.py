"""The people of a benchmark: accounts and sessions made quickly, as the service itself makes them.

The database then counts its rows, as autovacuum has it do within a minute of such a change: plans
are those of a database that lives, not of one that believes its tables to be empty.
"""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address
from itertools import count
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.identity.accounts.queries import (
    insert_credentials,
    insert_user,
)
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.queries import insert_user_role
from holdfast.apps.identity.sessions.actions import begin_session, tokens_of
from holdfast.apps.identity.visitor import Visitor
from holdfast.core.settings import Settings
from lab.servers import execute

PASSWORD = "correct horse battery staple"  # noqa: S105 - everybody's, here
TOGETHER = 8
_numbers = count(1)


class Person(NamedTuple):
    id: UUID
    email: str
    access: str
    refresh: str


def people(environ: Mapping[str, str], number: int, *roles: str) -> list[Person]:
    """So many accounts, each signed in once; their passwords share one hash, to save the time."""
    made = asyncio.run(_people(environ, number, ("user", *roles)))
    asyncio.run(execute(environ["DATABASE_URL"], "ANALYZE"))
    return made


async def _people(environ: Mapping[str, str], number: int, roles: tuple[str, ...]) -> list[Person]:
    settings = Settings.load(environ)
    async with Identity.open(settings, Options()) as here:
        password_hash = await here.passwords.hash(PASSWORD)
        made: list[Person] = []
        while len(made) < number:
            some = min(TOGETHER, number - len(made))
            made += await asyncio.gather(
                *(_person(here, password_hash, roles) for _ in range(some))
            )
    return made


async def _person(here: Identity, password_hash: str, roles: tuple[str, ...]) -> Person:
    email = f"person{next(_numbers)}@example.com"
    async with here.db.transaction() as db:
        user_id = await insert_user(db, email=email, name="One of many", verified=False)
        if user_id is None:
            raise RuntimeError(f"{email} has an account in this database already.")
        await insert_credentials(db, user_id=user_id, password_hash=password_hash)
        for role in roles:
            await insert_user_role(db, user_id=user_id, role=role)
    session = await begin_session(here, user_id, Visitor(ip_address("127.0.0.1"), "lab", None), [])
    tokens = await tokens_of(here, session, session.token)
    return Person(user_id, email, tokens.access_token, tokens.refresh_token)
