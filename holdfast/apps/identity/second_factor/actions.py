"""The second factor: an authenticator app, and recovery codes for the day it is lost.

A code is used up in one statement, so that of many at the same moment one counts. How many wrong
ones may be tried is not decided here: see `login`.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller, require_verified
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.second_factor import queries, rules
from holdfast.apps.identity.secrets import Secrets
from holdfast.core.db import Executor
from holdfast.core.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)


class Started(NamedTuple):
    """A secret that an app has to learn, as text and as what its picture says."""

    secret: str
    uri: str


async def start_totp(here: Identity, caller: Caller) -> Started:
    """A new secret for an authenticator app; it counts once a first code of it has been right."""
    require_verified(caller)
    secret = rules.make_secret()
    sealed = rules.seal(secret, caller.user_id, here.secrets)
    if not await queries.upsert_totp_secret(here.db, user_id=caller.user_id, sealed=sealed):
        raise TotpConfirmedError
    return Started(rules.readable(secret), rules.uri(secret, caller.grants.email or ""))


async def confirm_totp(here: Identity, caller: Caller, code: str) -> Sequence[str]:
    """From now on a sign-in needs a code; answers the recovery codes, which are not shown again."""
    async with here.db.transaction() as db:
        waiting = await queries.select_totp_secret(db, caller.user_id)
        if waiting is None:
            raise NoTotpError
        if waiting.confirmed:
            raise TotpConfirmedError
        step = _matching_step(waiting.sealed, caller.user_id, code, here.secrets)
        if step is None:
            raise InvalidError(("code", "is not what the app shows; look at your device's clock"))
        owner = await queries.update_totp_confirmed(
            db, user_id=caller.user_id, sealed=waiting.sealed, step=step
        )
        if owner is None:
            raise ConflictError("Another request has changed this meanwhile. Begin again.")
        await post(db, "totp_added", owner.email, owner.language)
        await record(db, "totp.added", actor=caller.user_id, user=caller.user_id)
        return await _replace_recovery_codes(db, here.secrets, caller.user_id)


async def remove_totp(here: Identity, caller: Caller) -> None:
    """The password alone signs in again; the recovery codes go too."""
    async with here.db.transaction() as db:
        removed = await queries.delete_totp_secret(db, caller.user_id)
        if removed is None:
            raise NotFoundError("You have no authenticator app here.")
        await queries.delete_recovery_codes(db, caller.user_id)
        if removed.confirmed:
            await post(db, "totp_removed", removed.email, removed.language)
            await record(db, "totp.removed", actor=caller.user_id, user=caller.user_id)


async def renew_recovery_codes(here: Identity, caller: Caller) -> Sequence[str]:
    """New codes; those from before are worth nothing any more."""
    async with here.db.transaction() as db:
        if await queries.lock_confirmed_totp(db, caller.user_id) is None:
            raise NoTotpError
        await record(db, "recovery_codes.renewed", actor=caller.user_id, user=caller.user_id)
        return await _replace_recovery_codes(db, here.secrets, caller.user_id)


async def use_code(db: Executor, secrets: Secrets, user_id: UUID, code: str) -> None:
    """Use up a code of the authenticator app, or a recovery code; refuses any other."""
    if rules.is_shown_by_an_app(rules.plain(code)):
        await _use_step(db, secrets, user_id, code)
    else:
        await _use_recovery_code(db, secrets, user_id, code)


async def _use_step(db: Executor, secrets: Secrets, user_id: UUID, code: str) -> None:
    known = await queries.select_totp_secret(db, user_id)
    if known is None or not known.confirmed:
        raise WrongCodeError
    step = _matching_step(known.sealed, user_id, code, secrets)
    if step is None or not await queries.update_totp_step_used(
        db, user_id=user_id, sealed=known.sealed, step=step
    ):
        raise WrongCodeError


async def _use_recovery_code(db: Executor, secrets: Secrets, user_id: UUID, code: str) -> None:
    used = await queries.update_recovery_code_used(
        db, user_id=user_id, hash=rules.recovery_hash(code, user_id, secrets)
    )
    if used is None:
        raise WrongCodeError
    await post(db, "recovery_code_used", used.email, used.language, codes_left=used.codes_left)
    await record(db, "recovery_code.used", actor=user_id, user=user_id, codes_left=used.codes_left)


async def _replace_recovery_codes(db: Executor, secrets: Secrets, user_id: UUID) -> Sequence[str]:
    codes = rules.make_recovery_codes()
    hashes = [rules.recovery_hash(code, user_id, secrets) for code in codes]
    await queries.delete_recovery_codes(db, user_id)
    await queries.insert_recovery_codes(db, user_id=user_id, hashes=hashes)
    return codes


def _matching_step(sealed: bytes, user_id: UUID, code: str, secrets: Secrets) -> int | None:
    secret = rules.unseal(sealed, user_id, secrets)
    return rules.matching_step(secret, rules.plain(code), time.time())


class TotpConfirmedError(ConflictError):
    sentence = "You have an authenticator app here. Remove it first."


class NoTotpError(ConflictError):
    sentence = "You have no authenticator app here. Add one first: POST /api/v1/users/me/totp."


class WrongCodeError(UnauthenticatedError):
    sentence = "The code is wrong, too old, or used. Wait for the next one, or use a recovery code."
