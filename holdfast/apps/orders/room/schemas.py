"""Who is in a waiting room, how they stand, and why somebody may not order or join."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from holdfast.core.errors import ConflictError, ForbiddenError, NotFoundError

State = Literal["gathering", "waiting", "admitted", "used", "missed"]
Sale = Literal["early", "open", "sold_out", "over"]


class Guest(NamedTuple):
    """A customer in the room of an offer."""

    offer_id: UUID
    customer_id: UUID


class Turn(msgspec.Struct, frozen=True):
    state: State
    sale: Sale
    position: int | None  # how many are admitted before
    people: int  # who have no turn yet or wait for theirs
    turn_at: datetime | None
    expires_at: datetime | None
    admission: str | None
    now: datetime  # by the database's clock, as everything here


class NoRoomError(NotFoundError):
    sentence = "This has no waiting room. Place an order right away."


class NotInRoomError(NotFoundError):
    sentence = "You are not in this waiting room. Join it first."


class NoMoreTurnsError(ConflictError):
    sentence = "You have had three turns in this sale. There are no more."


class NotAdmittedError(ForbiddenError):
    sentence = (
        "It is not your turn to buy this. Join its waiting room, and send what it gives you"
        " as Admission."
    )
