"""Personal access tokens: made by their owner in person, for as long and for as little as needed.

What a token may do is asked at each request: what its owner may, as far as its scopes reach. A ban
stops it, and so does the loss of a role, without a line here.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.identity.access.rules import PERSONAL, write_carried
from holdfast.apps.identity.access.schemas import session_subject
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.personal_tokens import queries
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.actions import require_known
from holdfast.apps.identity.roles.queries import select_own_permissions
from holdfast.apps.identity.roles.rules import refuse_beyond
from holdfast.apps.identity.sessions.queries import select_open_session_owner
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import ConflictError, NotFoundError, UnauthenticatedError

MOST = 50


class Made(NamedTuple):
    """A new token, and its text, which nobody can be told again."""

    token: queries.PersonalToken
    text: str


async def create_token(
    here: Identity, caller: Caller, *, name: str, scopes: Sequence[str] | None, days: int
) -> Made:
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    async with here.db.transaction() as db:
        owner = await _lock_owner(db, caller)
        if scopes is not None:
            await require_known(db, "scopes", scopes)
            refuse_beyond(await select_own_permissions(db, caller.user_id), scopes)
        token = await queries.insert_token(
            db, user_id=caller.user_id, name=name, scopes=scopes, expires_at=expires_at, most=MOST
        )
        if token is None:
            raise ConflictError(f"You have {MOST} tokens already. Revoke one that you do not use.")
        await record(
            db,
            "token.created",
            actor=caller.user_id,
            user=caller.user_id,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
        )
        await post(db, "token_created", owner.email, owner.language, name=name)
    return Made(token, write_carried(PERSONAL, token.id, expires_at, here.secrets))


async def revoke_token(here: Identity, user_id: UUID, token_id: UUID) -> None:
    async with epochs.change(here.lease) as change:
        name = await queries.delete_token(change.db, token_id=token_id, user_id=user_id)
        if name is None:
            raise NotFoundError("You have no personal token with this id.")
        await record(change.db, "token.revoked", actor=user_id, user=user_id, name=name)
        change.touches(session_subject(token_id))


async def end_user_tokens(change: epochs.Change, user_id: UUID) -> int:
    """End all personal tokens of a user, as part of a change that ends their sessions as well."""
    await queries.lock_owner(change.db, user_id)  # whoever is making one is done, or finds it out
    ended = await queries.delete_user_tokens(change.db, user_id)
    change.touches(*(session_subject(token_id) for token_id in ended))
    return len(ended)


async def _lock_owner(db: Executor, caller: Caller) -> queries.Owner:
    """The caller's account; refuses a session that was ended while this was on its way."""
    owner = await queries.lock_owner(db, caller.user_id)
    if owner is None or await select_open_session_owner(db, caller.session_id) is None:
        raise UnauthenticatedError
    return owner
