"""Everybody's own data: handed over whole, and gone when they say so.

Two things stay after an account is deleted, until their partitions go, and name it by an id that nobody
has any more: its rows of the login history, which is a chain that breaks where one is missing, and
those of the audit log.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from holdfast.apps.identity.access.schemas import user_subject
from holdfast.apps.identity.audit.actions import record
from holdfast.apps.identity.audit.queries import select_audit
from holdfast.apps.identity.audit.rules import activity_of
from holdfast.apps.identity.history.queries import select_logins
from holdfast.apps.identity.login.queries import delete_login_lanes
from holdfast.apps.identity.login.rules import password_lanes, second_factor_lanes
from holdfast.apps.identity.mail.actions import post
from holdfast.apps.identity.privacy import queries
from holdfast.apps.identity.resources import Identity
from holdfast.apps.identity.roles.actions import keep_an_admin
from holdfast.apps.identity.sessions.actions import end_user_sessions
from holdfast.core import epochs
from holdfast.core.errors import NotFoundError
from holdfast.core.outbox import emit

AT_ONCE = 500
AFTER_ALL = (datetime(9999, 1, 1, tzinfo=UTC), 0)

Told = Sequence[dict[str, Any]]


async def export_me(here: Identity, user_id: UUID) -> AsyncIterator[bytes]:
    """One JSON document of everything that we hold of a user, made while it is sent."""
    async with here.db.transaction() as db:
        belongings = await queries.select_belongings(db, user_id)
        if belongings is None:
            raise NoPersonError
        await record(db, "data.exported", actor=user_id, user=user_id)
    return _document(here, user_id, belongings)


async def delete_me(here: Identity, user_id: UUID) -> None:
    async with epochs.change(here.lease) as change:
        await delete_account(here, change, user_id, actor=user_id)


async def delete_account(
    here: Identity, change: epochs.Change, user_id: UUID, *, actor: UUID
) -> None:
    """Delete a person and what is theirs, as part of a change; the last admin stays."""
    await keep_an_admin(change.db, user_id)
    person = await queries.lock_person(change.db, user_id)
    if person is None:
        raise NoPersonError
    await end_user_sessions(change, user_id)
    await queries.delete_user(change.db, user_id)
    lanes = [password_lanes(person.email, here.secrets), second_factor_lanes(user_id, here.secrets)]
    await delete_login_lanes(change.db, lanes)
    await record(change.db, "user.deleted", actor=actor, user=user_id)
    await emit(change.db, "user.deleted", {"user_id": user_id})
    await post(change.db, "account_deleted", person.email, person.language)
    change.touches(user_subject(user_id))


async def _document(
    here: Identity, user_id: UUID, belongings: queries.Belongings
) -> AsyncIterator[bytes]:
    yield b'{"data":{"exported_at":' + msgspec.json.encode(datetime.now(UTC))
    for name, value in belongings._asdict().items():
        yield f',"{name}":{value}'.encode()
    for name, pages in (
        ("sessions", _sessions(here, user_id)),
        ("logins", _logins(here, user_id)),
        ("activity", _activity(here, user_id)),
    ):
        yield f',"{name}":['.encode()
        separator = b""
        async for page in pages:
            yield separator + msgspec.json.encode(page, enc_hook=str)[1:-1]
            separator = b","
        yield b"]"
    yield b"}}"


async def _sessions(here: Identity, user_id: UUID) -> AsyncIterator[Told]:
    before: UUID | None = None
    while rows := await queries.select_kept_sessions(
        here.db, user_id=user_id, before=before, most=AT_ONCE
    ):
        yield [row._asdict() for row in rows]
        before = rows[-1].id


async def _logins(here: Identity, user_id: UUID) -> AsyncIterator[Told]:
    period, position = AFTER_ALL
    while rows := await select_logins(
        here.db,
        user_id=user_id,
        before_period=period,
        before_position=position,
        most=AT_ONCE,
    ):
        yield [
            {"at": row.at, "ip": row.ip, "device": row.device, "outcome": row.outcome}
            for row in rows
        ]
        period, position = rows[-1].period, rows[-1].position


async def _activity(here: Identity, user_id: UUID) -> AsyncIterator[Told]:
    before: UUID | None = None
    while rows := await select_audit(
        here.db, user_id=user_id, actor_id=None, action=None, before=before, most=AT_ONCE
    ):
        yield [activity_of(row, user_id).model_dump() for row in rows]
        before = rows[-1].id


class NoPersonError(NotFoundError):
    sentence = "There is no account of a person with this id."
