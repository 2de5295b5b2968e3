"""Accounts are made and changed."""

from uuid import UUID

from holdfast.apps.identity.access.schemas import user_subject
from holdfast.apps.identity.accounts import queries
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.queries import insert_user_role
from holdfast.apps.identity.sessions.actions import end_user_sessions
from holdfast.core import epochs
from holdfast.core.errors import ConflictError, ForbiddenError
from holdfast.core.outbox import emit

EVERYONE = "user"


async def register(here: Identity, *, email: str, password: str, name: str | None) -> None:
    """Make an account, unless the address has one: then its owner is told, and nobody else.

    Both cases hash a password and commit an event, so that they take the same time.
    """
    password_hash = await here.passwords.hash(password)
    async with here.db.transaction() as db:
        user_id = await queries.insert_user(db, email=email, name=name)
        if user_id is None:
            await emit(db, "user.register_repeated", {"email": email})
            return
        await queries.insert_credentials(db, user_id=user_id, password_hash=password_hash)
        await insert_user_role(db, user_id=user_id, role=EVERYONE)
        await emit(db, "user.registered", {"user_id": user_id, "email": email})


async def change_me(here: Identity, user_id: UUID, *, name: str | None) -> None:
    async with epochs.change(here.lease) as change:
        await queries.update_user_name(change.db, user_id=user_id, name=name)
        change.touches(user_subject(user_id))


async def change_password(here: Identity, user_id: UUID, *, current: str, new: str) -> None:
    """Set a new password and end every session: whoever had the old one is out."""
    stored = await queries.select_password_hash(here.db, user_id)
    if not await here.passwords.matches(stored, current) or stored is None:
        raise WrongCurrentPasswordError
    new_hash = await here.passwords.hash(new)
    async with epochs.change(here.lease) as change:
        changed = await queries.update_password_hash(
            change.db, user_id=user_id, password_hash=new_hash, checked_hash=stored
        )
        if not changed:
            raise ConflictError("The password was changed by another request. Sign in again.")
        await end_user_sessions(change, user_id)
        await emit(change.db, "user.password_changed", {"user_id": user_id})


class WrongCurrentPasswordError(ForbiddenError):
    sentence = "The current password is wrong."
