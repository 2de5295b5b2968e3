"""Accounts are banned, unlocked, logged out and deleted by those who may do at least as much.

What the caller and the account may do is read inside the transaction, under locks that are always
taken in one order: the role admin, then the account. So two administrators who ban each other at
the same moment are not both gone.
"""

from uuid import UUID

from holdfast.apps.identity.access.schemas import session_subject, user_subject
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller
from holdfast.apps.identity.login.queries import delete_login_lanes
from holdfast.apps.identity.login.rules import password_lanes, second_factor_lanes
from holdfast.apps.identity.moderation import queries
from holdfast.apps.identity.moderation.rules import refuse_above
from holdfast.apps.identity.personal_tokens.queries import select_token_ids
from holdfast.apps.identity.privacy.actions import delete_account
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.actions import (
    ADMIN,
    keep_an_admin,
    permissions_of,
    require_user,
)
from holdfast.apps.identity.roles.queries import lock_role, select_user_permissions
from holdfast.apps.identity.sessions.actions import end_user_sessions
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import ForbiddenError, NotFoundError
from holdfast.core.outbox import emit


async def ban_user(here: Identity, caller: Caller, user_id: UUID, *, reason: str | None) -> None:
    """Close an account: its sessions end, and its personal tokens are worth nothing meanwhile."""
    async with epochs.change(here.lease) as change:
        await _lock_somebody(change.db, caller, user_id)
        await keep_an_admin(change.db, user_id)
        await queries.update_user_banned(change.db, user_id=user_id, reason=reason)
        ended = await end_user_sessions(change, user_id)
        await record(
            change.db,
            "user.banned",
            actor=caller.user_id,
            user=user_id,
            reason=reason,
            sessions=ended,
        )
        await emit(change.db, "user.banned", {"user_id": user_id})
        change.touches(user_subject(user_id))


async def unban_user(here: Identity, caller: Caller, user_id: UUID) -> None:
    async with epochs.change(here.lease) as change:
        account = await _lock_somebody(change.db, caller, user_id)
        if not account.banned:
            return
        await queries.update_user_unbanned(change.db, user_id)
        await record(change.db, "user.unbanned", actor=caller.user_id, user=user_id)
        await emit(change.db, "user.unbanned", {"user_id": user_id})
        # A worker that refused a token remembers that by the token alone, as if it had ended.
        tokens = await select_token_ids(change.db, user_id)
        change.touches(user_subject(user_id), *(session_subject(token) for token in tokens))


async def unlock_user(here: Identity, caller: Caller, user_id: UUID) -> None:
    """Forget the failures in a row, so that the owner may try again at once."""
    async with here.db.transaction() as db:
        account = await _lock_somebody(db, caller, user_id)
        lanes = [second_factor_lanes(user_id, here.secrets)]
        if account.email is not None:
            lanes.append(password_lanes(account.email, here.secrets))
        await delete_login_lanes(db, lanes)
        await record(db, "user.unlocked", actor=caller.user_id, user=user_id)


async def log_out_user(here: Identity, caller: Caller, user_id: UUID) -> int:
    """End all sessions of anyone; it shuts nobody out, so it is not refused upwards."""
    async with epochs.change(here.lease) as change:
        await permissions_of(change.db, caller, needed="sessions:write")
        await require_user(change.db, user_id)
        ended = await end_user_sessions(change, user_id)
        await record(
            change.db, "user.logged_out", actor=caller.user_id, user=user_id, sessions=ended
        )
    return ended


async def delete_user(here: Identity, caller: Caller, user_id: UUID) -> None:
    async with epochs.change(here.lease) as change:
        await _lock_somebody(change.db, caller, user_id)
        await delete_account(here, change, user_id, actor=caller.user_id)


async def _lock_somebody(db: Executor, caller: Caller, user_id: UUID) -> queries.LockedAccount:
    """Somebody else's account, until commit; refuses whoever may not act on it."""
    await lock_role(db, ADMIN)
    own = await permissions_of(db, caller, needed="users:write")
    if user_id == caller.user_id:
        raise ForbiddenError("Somebody else has to do this to your account.")
    account = await queries.lock_account(db, user_id)
    if account is None:
        raise NotFoundError("There is no account with this id.")
    refuse_above(own, await select_user_permissions(db, user_id))
    return account
