"""Demo accounts, so that there is something to sign in with. Never in production.

Their administrator may do what every app in the house asks a permission for.
"""

from typing import NamedTuple

from holdfast.apps.identity.access.schemas import role_subject
from holdfast.apps.identity.accounts.queries import insert_credentials, insert_user
from holdfast.apps.identity.login.queries import select_credentials
from holdfast.apps.identity.options import Options
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.actions import ADMIN
from holdfast.apps.identity.roles.queries import (
    insert_permission,
    insert_role_permissions,
    insert_user_role,
)
from holdfast.core import epochs, manifest
from holdfast.core.settings import Settings, SettingsError


class DemoAccount(NamedTuple):
    role: str
    email: str
    password: str


DEMO_ACCOUNTS = (
    DemoAccount(ADMIN, "admin@demo.holdfast.example", "demo-admin-password"),
    DemoAccount("user", "user@demo.holdfast.example", "demo-user-password"),
)


class DemoRefusedError(SettingsError):
    """Demo accounts have published passwords; production must not have them."""


async def seed(settings: Settings) -> tuple[DemoAccount, ...]:
    if settings.profile == "production":
        raise DemoRefusedError("The production profile refuses demo accounts.")
    async with Identity.open(settings, Options()) as here:
        known = await select_credentials(here.db, [account.email for account in DEMO_ACCOUNTS])
        there = {row.email for row in known}
        for account in DEMO_ACCOUNTS:
            if account.email not in there:
                await _make(here, account)
        await _permit_administrators(here)
    return DEMO_ACCOUNTS


async def _permit_administrators(here: Identity) -> None:
    async with epochs.change(here.lease) as change:
        for app in manifest.apps():
            for name, description in app.permissions.items():
                if await insert_permission(change.db, permission=name, description=description):
                    await insert_role_permissions(change.db, role=ADMIN, permissions=[name])
                    change.touches(role_subject(ADMIN))


async def _make(here: Identity, account: DemoAccount) -> None:
    password_hash = await here.passwords.hash(account.password)
    async with here.db.transaction() as db:
        user_id = await insert_user(db, email=account.email, name=None, verified=True)
        if user_id is not None:
            await insert_credentials(db, user_id=user_id, password_hash=password_hash)
            for role in {"user", account.role}:
                await insert_user_role(db, user_id=user_id, role=role)
