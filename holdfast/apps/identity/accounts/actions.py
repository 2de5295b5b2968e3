"""Accounts are made and changed."""

from typing import NamedTuple
from uuid import UUID

from holdfast.apps.identity.access.schemas import user_subject
from holdfast.apps.identity.accounts import queries
from holdfast.apps.identity.accounts.schemas import ChangeMeIn
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller
from holdfast.apps.identity.login.actions import Claim, WrongPasswordError, guess
from holdfast.apps.identity.login.rules import password_lanes
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.mail.schemas import Arrived
from holdfast.apps.identity.password_policy.actions import refuse_weak
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.sessions.actions import end_user_sessions
from holdfast.apps.identity.tickets.actions import TicketRefusedError, peek, redeem
from holdfast.apps.identity.tickets.queries import delete_user_tickets
from holdfast.apps.identity.visitor import Visitor
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import ConflictError, ForbiddenError, UnauthenticatedError
from holdfast.core.outbox import emit

EVERYONE = "user"


async def require_way_in(db: Executor, user_id: UUID) -> None:
    """Refuse to take away what was the last way to sign in; for the end of what takes it."""
    if not await queries.select_way_in(db, user_id):
        raise LastWayInError


class LastWayInError(ConflictError):
    sentence = "This is your last way to sign in. Set a password or add another one first."


class Followed(NamedTuple):
    """A link of a mail that somebody has opened, and the account that it is about."""

    user_id: UUID
    email: str
    person: queries.Person


async def register(
    here: Identity, *, email: str, password: str, name: str | None, language: str
) -> None:
    """Make an account, unless the address has one: then its owner is told, and nobody else.

    Both cases hash a password, and run one statement that leaves a mail.
    """
    await refuse_weak(here, password, email=email)
    await queries.insert_account(
        here.db,
        email=email,
        name=name,
        language=language,
        password_hash=await here.passwords.hash(password),
        role=EVERYONE,
    )


async def change_me(here: Identity, user_id: UUID, wanted: ChangeMeIn) -> None:
    async with epochs.change(here.lease) as change:
        await queries.update_user(
            change.db,
            user_id=user_id,
            renamed="name" in wanted.model_fields_set,
            name=wanted.name,
            language=wanted.language,
        )
        change.touches(user_subject(user_id))


async def change_password(
    here: Identity, caller: Caller, visitor: Visitor, *, current: str, new: str
) -> None:
    """Set a new password and end every session: whoever had the old one is out."""
    try:
        stored = await _checked_hash(here, caller, visitor, current)
    except WrongPasswordError:
        raise WrongCurrentPasswordError from None
    await refuse_weak(here, new, email=caller.grants.email or "", field="new_password")
    new_hash = await here.passwords.hash(new)
    async with epochs.change(here.lease) as change:
        person = await queries.lock_person(change.db, caller.user_id)
        if person is None:
            raise UnauthenticatedError
        changed = await queries.update_password_hash(
            change.db, user_id=caller.user_id, password_hash=new_hash, checked_hash=stored
        )
        if not changed:
            raise ConflictError("The password was changed by another request. Sign in again.")
        await lock_others_out(change, caller.user_id, person)
        await record(change.db, "password.changed", actor=caller.user_id, user=caller.user_id)


async def _checked_hash(here: Identity, caller: Caller, visitor: Visitor, password: str) -> str:
    """The hash of the password, if this is it; a wrong one counts as a failed sign-in."""
    user_id, email = caller.user_id, caller.grants.email or ""
    lanes = password_lanes(email, here.secrets)
    async with guess(here, Claim(email, user_id), visitor, lanes, failure="wrong_password"):
        stored = await queries.select_password_hash(here.db, user_id)
        if not await here.passwords.matches(stored, password) or stored is None:
            raise WrongPasswordError
    return stored


async def lock_others_out(change: epochs.Change, user_id: UUID, person: queries.Person) -> None:
    """What a new password means for whoever had the old one: no session, and no link or step."""
    await end_user_sessions(change, user_id)
    await delete_user_tickets(change.db, user_id)
    await emit(change.db, "user.password_changed", {"user_id": user_id})
    if person.verified:
        await post(change.db, "password_changed", person.email, person.language)


async def follow_link(db: Executor, secrets: Secrets, purpose: str, ticket: str) -> Followed:
    """Use up the ticket of a link. The account is locked first: so all its links wait in one row."""
    arrived = await peek(db, secrets, purpose, ticket, Arrived)
    person = await queries.lock_person(db, arrived.user_id)
    if person is None:
        raise TicketRefusedError
    await redeem(db, secrets, purpose, ticket, Arrived)
    return Followed(arrived.user_id, arrived.email, person)


class WrongCurrentPasswordError(ForbiddenError):
    sentence = "The current password is wrong."
