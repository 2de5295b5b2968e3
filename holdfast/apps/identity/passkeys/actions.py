"""Passkeys are added and removed, and let their owner in.

Every step begins with a challenge, which waits in a ticket: used once, whatever comes of it.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from holdfast.apps.identity.accounts.actions import require_way_in
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.guard import Caller, require_verified
from holdfast.apps.identity.login.actions import Entered, enter
from holdfast.apps.identity.login.queries import select_person
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.passkeys import queries, rules
from holdfast.apps.identity.passkeys.rules import Asserted, Site
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.step_up.actions import renew
from holdfast.apps.identity.step_up.schemas import AccessOut
from holdfast.apps.identity.tickets.actions import TicketRefusedError, issue, redeem
from holdfast.apps.identity.visitor import Visitor
from holdfast.core.db import Executor
from holdfast.core.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)

MOST = 20
TAKES = timedelta(minutes=5)
CHALLENGE_BYTES = 32
ADDING, ENTERING, STEPPING_UP = "passkey", "passkey_login", "passkey_step_up"


class Begun(NamedTuple):
    """What the browser is asked for, and the ticket to send its answer with."""

    ticket: str
    options: dict[str, Any]


class Challenge(msgspec.Struct, frozen=True):
    challenge: bytes
    user_id: UUID | None = None  # nobody has said yet who wants to sign in


class Used(NamedTuple):
    user_id: UUID
    amr: tuple[str, ...]


async def begin_passkey(here: Identity, caller: Caller) -> Begun:
    """Ask for a new passkey on this device."""
    require_verified(caller)
    site = _site(here)
    known = await queries.select_credentials(here.db, caller.user_id)
    if len(known) >= MOST:
        raise TooManyPasskeysError
    challenge = os.urandom(CHALLENGE_BYTES)
    email = caller.grants.email or ""
    options = rules.creation_options(site, challenge, caller.user_id.bytes, email, known)
    return Begun(await _ticket(here, ADDING, challenge, caller.user_id), options)


async def add_passkey(
    here: Identity, caller: Caller, *, ticket: str, name: str, credential: Mapping[str, Any]
) -> queries.Passkey:
    site = _site(here)
    challenge = await _redeem(here, ADDING, ticket, caller.user_id)
    new = rules.read_registration(credential, challenge, site)
    if new is None:
        raise InvalidError(("credential", "is no answer to these options; begin again"))
    async with here.db.transaction() as db:
        owner = await _lock_owner(db, caller.user_id)
        if await queries.select_passkeys_number(db, caller.user_id) >= MOST:
            raise TooManyPasskeysError
        passkey = await queries.insert_passkey(
            db, user_id=caller.user_id, name=name, **new._asdict()
        )
        if passkey is None:
            raise ConflictError("This passkey is registered already.")
        await record(
            db, "passkey.added", actor=caller.user_id, user=caller.user_id, passkey=passkey.id
        )
        await post(db, "passkey_added", owner.email, owner.language, name=name)
    return passkey


async def rename_passkey(
    here: Identity, user_id: UUID, passkey_id: UUID, *, name: str
) -> queries.Passkey:
    passkey = await queries.update_passkey_name(
        here.db, user_id=user_id, passkey_id=passkey_id, name=name
    )
    if passkey is None:
        raise NoSuchPasskeyError
    return passkey


async def remove_passkey(here: Identity, user_id: UUID, passkey_id: UUID) -> None:
    """Remove a passkey, unless nobody could sign in to the account any more."""
    async with here.db.transaction() as db:
        owner = await _lock_owner(db, user_id)
        name = await queries.delete_passkey(db, user_id=user_id, passkey_id=passkey_id)
        if name is None:
            raise NoSuchPasskeyError
        await require_way_in(db, user_id)
        await record(db, "passkey.removed", actor=user_id, user=user_id, passkey=passkey_id)
        await post(db, "passkey_removed", owner.email, owner.language, name=name)


async def begin_passkey_login(here: Identity) -> Begun:
    """Ask for any passkey of this service: it says itself whose it is."""
    challenge = os.urandom(CHALLENGE_BYTES)
    options = rules.request_options(_site(here), challenge)
    return Begun(await _ticket(here, ENTERING, challenge), options)


async def login_with_passkey(
    here: Identity, visitor: Visitor, *, ticket: str, credential: Mapping[str, Any]
) -> Entered:
    challenge = await _redeem(here, ENTERING, ticket)
    used = await _use(here, challenge, credential)
    person = await select_person(here.db, used.user_id)
    if person is None:
        raise PasskeyRefusedError
    return await enter(here, person, visitor, used.amr)


async def begin_passkey_step_up(here: Identity, caller: Caller) -> Begun:
    """Ask for one of the caller's own passkeys."""
    site = _site(here)
    known = await queries.select_credentials(here.db, caller.user_id)
    if not known:
        raise NotFoundError("You have no passkey. Prove in another way that it is you.")
    challenge = os.urandom(CHALLENGE_BYTES)
    options = rules.request_options(site, challenge, known)
    return Begun(await _ticket(here, STEPPING_UP, challenge, caller.user_id), options)


async def step_up_with_passkey(
    here: Identity, caller: Caller, *, ticket: str, credential: Mapping[str, Any]
) -> AccessOut:
    challenge = await _redeem(here, STEPPING_UP, ticket, caller.user_id)
    used = await _use(here, challenge, credential, owner=caller.user_id)
    return await renew(here, caller, used.amr)


async def _ticket(
    here: Identity, purpose: str, challenge: bytes, user_id: UUID | None = None
) -> str:
    facts = Challenge(challenge, user_id)
    return await issue(here.db, here.secrets, purpose, facts, lifetime=TAKES, user_id=user_id)


async def _redeem(here: Identity, purpose: str, ticket: str, user_id: UUID | None = None) -> bytes:
    facts = await redeem(here.db, here.secrets, purpose, ticket, Challenge)
    if facts.user_id != user_id:
        raise TicketRefusedError
    return facts.challenge


async def _use(
    here: Identity, challenge: bytes, credential: Mapping[str, Any], owner: UUID | None = None
) -> Used:
    """Whose passkey has answered the challenge; each answer counts once."""
    passkey = await queries.select_passkey_by_credential(
        here.db, rules.credential_id_of(credential)
    )
    if passkey is None or owner not in {None, passkey.user_id}:
        raise PasskeyRefusedError
    said = rules.read_assertion(
        credential, challenge, _site(here), passkey.public_key, passkey.user_id.bytes
    )
    if said is None:
        raise PasskeyRefusedError
    await _count(here, passkey, said)
    return Used(passkey.user_id, said.amr)


async def _count(here: Identity, passkey: queries.KnownPasskey, said: Asserted) -> None:
    gone_on = await queries.update_passkey_used(
        here.db, passkey_id=passkey.id, sign_count=said.sign_count, backed_up=said.backed_up
    )
    if not gone_on:
        await record(
            here.db,
            "passkey.counter_went_back",
            actor=None,
            user=passkey.user_id,
            passkey=passkey.id,
            sign_count=said.sign_count,
        )
        raise PasskeyRefusedError


async def _lock_owner(db: Executor, user_id: UUID) -> queries.Owner:
    owner = await queries.lock_owner(db, user_id)
    if owner is None:
        raise UnauthenticatedError  # deleted a moment ago
    return owner


def _site(here: Identity) -> Site:
    site = rules.site_of(here.settings.origin)
    if site is None:
        raise NoNameError
    return site


class PasskeyRefusedError(UnauthenticatedError):
    sentence = "This passkey was not accepted. Begin again, or sign in another way."


class NoSuchPasskeyError(NotFoundError):
    sentence = "You have no passkey with this id."


class TooManyPasskeysError(ConflictError):
    sentence = f"An account has {MOST} passkeys at most. Remove one that you do not use."


class NoNameError(ConflictError):
    """WebAuthn binds a passkey to a name."""

    sentence = "Passkeys need a service with a name, and this one has an address (HOLDFAST_ORIGIN)."
