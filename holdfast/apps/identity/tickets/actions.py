"""One-time tickets: proof that two requests belong together, or that a mail has arrived.

A ticket is good for one purpose, for a short time, and once. What it stands for is in the
database; its text is not, only a hash of it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from holdfast.apps.identity.secrets import Secrets
from holdfast.apps.identity.tickets import queries, rules
from holdfast.core.db import Executor
from holdfast.core.errors import UnauthenticatedError

Facts = TypeVar("Facts", bound=msgspec.Struct)


async def issue(
    db: Executor,
    secrets: Secrets,
    purpose: str,
    facts: msgspec.Struct,
    *,
    lifetime: timedelta,
    user_id: UUID | None = None,
) -> str:
    """The text of a new ticket."""
    ticket = rules.make(datetime.now(UTC) + lifetime)
    await queries.insert_ticket(
        db,
        hash=ticket.hash,
        expires_at=ticket.expires_at,
        purpose=purpose,
        user_id=user_id,
        facts=msgspec.json.encode(facts).decode(),
    )
    return rules.write(ticket, purpose, secrets)


async def redeem(
    db: Executor, secrets: Secrets, purpose: str, text: str, kind: type[Facts]
) -> Facts:
    """Use a ticket up, and answer what it stands for; refuses one that is not (or no more) good."""
    ticket = rules.read(text, purpose, secrets)
    found = ticket and await queries.update_ticket_used(
        db, hash=ticket.hash, expires_at=ticket.expires_at
    )
    if not found:
        raise TicketRefusedError
    return _facts(found.facts, kind)


async def peek(db: Executor, secrets: Secrets, purpose: str, text: str, kind: type[Facts]) -> Facts:
    """What a ticket stands for, without using it up."""
    ticket = rules.read(text, purpose, secrets)
    found = ticket and await queries.select_ticket(
        db, hash=ticket.hash, expires_at=ticket.expires_at
    )
    if not found or found.used:
        raise TicketRefusedError
    return _facts(found.facts, kind)


def _facts(encoded: Any, kind: type[Facts]) -> Facts:
    return msgspec.json.decode(encoded, type=kind)


class TicketRefusedError(UnauthenticatedError):
    sentence = (
        "This link or step is not valid any more: it was used, or it took too long. Begin again."
    )
