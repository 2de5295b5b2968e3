"""The log as the account's owner is told it: what was done, and never by which administrator."""

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from holdfast.apps.identity.audit.schemas import ActivityOut, Hand


class Entry(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def at(self) -> datetime: ...
    @property
    def actor_id(self) -> UUID | None: ...
    @property
    def action(self) -> str: ...
    @property
    def facts(self) -> Any: ...


def activity_of(entry: Entry, owner: UUID) -> ActivityOut:
    return ActivityOut(
        id=entry.id,
        at=entry.at,
        by=_hand(entry.actor_id, owner),
        action=entry.action,
        facts=msgspec.json.decode(entry.facts),
    )


def _hand(actor: UUID | None, owner: UUID) -> Hand:
    if actor is None:
        return "nobody"
    return "you" if actor == owner else "administrator"
