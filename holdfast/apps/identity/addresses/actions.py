"""E-mail addresses are verified, and changed, by whoever opens the link that arrives there."""

from uuid import UUID

import asyncpg

from holdfast.apps.identity.access.schemas import user_subject
from holdfast.apps.identity.accounts.actions import follow_link
from holdfast.apps.identity.addresses import queries
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.mail.rules import CONFIRM, VERIFY
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tickets.actions import TicketRefusedError
from holdfast.apps.identity.tickets.queries import delete_user_tickets
from holdfast.core import epochs
from holdfast.core.errors import ConflictError, ForbiddenError
from holdfast.core.outbox import emit


async def resend_verification(here: Identity, caller: Caller) -> None:
    if caller.grants.email_verified:
        raise VerifiedAlreadyError
    await post(here.db, "verify_email", _address_of(caller), caller.grants.language)


async def verify_email(here: Identity, ticket: str) -> None:
    async with epochs.change(here.lease) as change:
        user_id, email, person = await follow_link(change.db, here.secrets, VERIFY, ticket)
        if person.email != email:
            raise TicketRefusedError
        if person.verified:
            return
        await queries.update_email_verified(change.db, user_id)
        await record(change.db, "email.verified", actor=user_id, user=user_id)
        await emit(change.db, "user.verified", {"user_id": user_id, "email": email})
        change.touches(user_subject(user_id))


async def change_email(here: Identity, caller: Caller, email: str) -> None:
    """Send a link to the new address. Whether somebody has it already is not told here."""
    current = _address_of(caller)
    if email == current:
        raise SameEmailError
    language, user_id = caller.grants.language, caller.user_id
    async with here.db.transaction() as db:
        await post(db, "confirm_email", email, language, user_id=user_id)
        if caller.grants.email_verified:
            await post(db, "email_change_requested", current, language)
        await record(db, "email.change_requested", actor=user_id, user=user_id)


async def confirm_email(here: Identity, ticket: str) -> None:
    """From now on the account has the new address. Its sessions go on; links to the old one end."""
    async with epochs.change(here.lease) as change:
        user_id, email, person = await follow_link(change.db, here.secrets, CONFIRM, ticket)
        await _move(change, user_id, email)
        await delete_user_tickets(change.db, user_id)
        await record(change.db, "email.changed", actor=user_id, user=user_id)
        await emit(change.db, "user.email_changed", {"user_id": user_id, "email": email})
        if person.verified:
            await post(change.db, "email_changed", person.email, person.language)
        change.touches(user_subject(user_id))


async def _move(change: epochs.Change, user_id: UUID, email: str) -> None:
    try:
        await queries.update_email(change.db, user_id=user_id, email=email)
    except asyncpg.UniqueViolationError:
        raise EmailTakenError from None


def _address_of(caller: Caller) -> str:
    if caller.grants.email is None:
        raise ForbiddenError("A service account has no e-mail address.")
    return caller.grants.email


class VerifiedAlreadyError(ConflictError):
    sentence = "Your e-mail address is verified already."


class SameEmailError(ConflictError):
    sentence = "This is your e-mail address already."


class EmailTakenError(ConflictError):
    sentence = "Another account has this e-mail address by now. Nothing was changed."
