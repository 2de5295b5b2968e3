"""A way back for whoever has lost the password: a link to the address of the account.

Whether an address has an account is decided when the mail is sent, never when it is asked for:
the request writes the same row for every address, and answers the same.
"""

from holdfast.apps.identity.access.schemas import user_subject
from holdfast.apps.identity.accounts.actions import follow_link, lock_others_out
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.login.queries import delete_login_lanes
from holdfast.apps.identity.login.rules import password_lanes
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.mail.rules import RESET
from holdfast.apps.identity.mail.schemas import Arrived
from holdfast.apps.identity.password_policy.actions import refuse_weak
from holdfast.apps.identity.personal_tokens.actions import end_user_tokens
from holdfast.apps.identity.recovery import queries
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.tickets.actions import TicketRefusedError, peek
from holdfast.core import epochs


async def request_reset(here: Identity, *, email: str, language: str) -> None:
    await post(here.db, "reset_requested", email, language)


async def reset_password(here: Identity, *, ticket: str, new_password: str) -> None:
    """Set a new password, for whoever reads the account's mail; everybody else is out."""
    asked = await peek(here.db, here.secrets, RESET, ticket, Arrived)
    await refuse_weak(here, new_password, email=asked.email, field="new_password")
    new_hash = await here.passwords.hash(new_password)
    async with epochs.change(here.lease) as change:
        user_id, email, person = await follow_link(change.db, here.secrets, RESET, ticket)
        if person.email != email:
            raise TicketRefusedError
        if not person.verified:  # whoever registered the address may be somebody else
            await queries.delete_ways_in(change.db, user_id)
        await queries.upsert_password(change.db, user_id=user_id, password_hash=new_hash)
        await lock_others_out(change, user_id, person)
        await end_user_tokens(change, user_id)
        await delete_login_lanes(change.db, [password_lanes(email, here.secrets)])
        await record(change.db, "password.reset", actor=user_id, user=user_id)
        change.touches(user_subject(user_id))
