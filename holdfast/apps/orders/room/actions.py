"""Customers join a waiting room, and are given turns: by lot at the opening, later as they come.

A turn is given once, under the room's lock, to everybody who has none at that moment; whoever asks
first after the opening does it for all, or a background job. From then on it is a matter of the
clock (`rules`). The lock is not that of the offer: orders go on while thousands join.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from time import monotonic
from typing import NamedTuple, TypeVar
from uuid import UUID

from holdfast.apps.orders.offers.schemas import OverError
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room import queries
from holdfast.apps.orders.room.cache import Seen
from holdfast.apps.orders.room.queries import Entry, Room
from holdfast.apps.orders.room.rules import (
    MOST_JOINS,
    PATIENCE,
    admission_key,
    sale_of,
    state_of,
    write_admission,
)
from holdfast.apps.orders.room.schemas import (
    Guest,
    NoMoreTurnsError,
    NoRoomError,
    NotInRoomError,
    Sale,
    State,
    Turn,
)
from holdfast.core.db import Database, Executor
from holdfast.core.errors import BusyError, ProblemError

AT_ONCE = 10_000  # by one statement, which takes some tenths of a second
LOOK_WITHIN_S = 1.0
KEPT = timedelta(days=1)  # after the sale
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Standing(NamedTuple):
    """What is known of a customer in a room; the rest is the clock's."""

    entry: Entry
    seen: Seen

    @property
    def guest(self) -> Guest:
        return Guest(self.entry.offer_id, self.entry.customer_id)


def _busy_for_all(
    action: Callable[[Orders, list[Item]], Awaitable[Sequence[Answer]]],
) -> Callable[[Orders, list[Item]], Awaitable[Sequence[Answer | BusyError]]]:
    """When the database is away or busy it is so for everybody who waits: to ask again for each
    alone would only keep them waiting.
    """

    @wraps(action)
    async def run(here: Orders, items: list[Item]) -> Sequence[Answer | BusyError]:
        try:
            return await action(here, items)
        except BusyError as error:
            return [type(error)() for _ in items]

    return run


@_busy_for_all
async def join_rooms(here: Orders, guests: list[Guest]) -> list[Standing | ProblemError]:
    """Let each in who may. Through `here.merged`: everybody comes at the same moment."""
    joining: dict[UUID, list[Guest]] = {}
    for guest in dict.fromkeys(guests):
        joining.setdefault(guest.offer_id, []).append(guest)
    refused: dict[Guest, ProblemError] = {}
    async with here.db.transaction() as db:
        await queries.insert_rooms(db, list(joining))
        await queries.lock_rooms(db, list(joining))
        for room in await queries.select_rooms(db, list(joining)):
            refused |= await _join(db, room, joining[room.offer_id])
        standings = await _standings(here, db, guests)
    return [refused.get(guest) or standings[guest] for guest in guests]


async def _join(db: Executor, room: Room, guests: Sequence[Guest]) -> dict[Guest, ProblemError]:
    """Into one room, which is locked; answers who may not. Whoever is in it stays as they are."""
    if room.admit_per_s is None:
        return {guest: NoRoomError() for guest in guests}
    if _sale(room, room.now) == "over":
        return {guest: OverError() for guest in guests}
    customers = [guest.customer_id for guest in guests]
    known = await queries.lock_entries(db, offer_id=room.offer_id, customer_ids=customers)
    entries = {entry.customer_id: entry for entry in known}
    gone = await _gone(db, room, known)
    too_often = {one for one in gone if entries[one].joins >= MOST_JOINS}
    again = gone - too_often
    joining = [one for one in customers if one not in entries or one in again]
    await queries.upsert_entries(db, offer_id=room.offer_id, customer_ids=joining)
    await queries.update_turns_given(db, offer_id=room.offer_id, most=AT_ONCE)
    return {Guest(room.offer_id, one): NoMoreTurnsError() for one in too_often}


async def _gone(db: Executor, room: Room, entries: Sequence[Entry]) -> set[UUID]:
    """Who had their turn and has a use for another: it was missed, or they may buy more."""
    states = {entry.customer_id: _state(entry, room, room.now) for entry in entries}
    used = {one for one, state in states.items() if state == "used"}
    missed = {one for one, state in states.items() if state == "missed"}
    satisfied = await queries.select_satisfied(db, offer_id=room.offer_id, customer_ids=list(used))
    return missed | used.difference(satisfied)


@_busy_for_all
async def find_standings(here: Orders, guests: list[Guest]) -> list[Standing | ProblemError]:
    """How each stands. Through `here.merged`: after the opening nobody is without a turn for longer
    than it takes to ask.
    """
    found = await _standings(here, here.db, guests)
    due = {standing.guest.offer_id for standing in found.values() if _is_due(standing)}
    if due:
        for offer_id in sorted(due):
            await give_turns(here.db, offer_id)
        found = await _standings(here, here.db, guests)
    return [found.get(guest) or NotInRoomError() for guest in guests]


def _is_due(standing: Standing) -> bool:
    """Whether this is the moment to be given a turn."""
    room, now = standing.seen.room, standing.seen.now()
    on_sale = _sale(room, now) in {"open", "sold_out"}
    return on_sale and _state(standing.entry, room, now) == "gathering"


async def give_turns(db: Database, offer_id: UUID) -> None:
    """To everybody in the room who has none, if the sale is open."""
    given: int | None = AT_ONCE
    while given == AT_ONCE:
        async with db.transaction() as tx:
            await queries.lock_rooms(tx, [offer_id])
            given = await queries.update_turns_given(tx, offer_id=offer_id, most=AT_ONCE)


async def follow(here: Orders, standing: Standing) -> Standing:
    """The same a moment later. A turn that was given stays, so once there is one, only the room is
    looked at: one look for all who watch it. While the database is away the clock goes on.
    """
    offer_id = standing.guest.offer_id
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_WITHIN_S):
            seen = here.rooms.get(offer_id) or await here.merged(see_rooms)(offer_id)
            if isinstance(seen, Seen):
                standing = standing._replace(seen=seen)
            if _is_due(standing):
                found = await here.merged(find_standings)(standing.guest)
                standing = found if isinstance(found, Standing) else standing
    return standing


@_busy_for_all
async def see_rooms(here: Orders, offer_ids: list[UUID]) -> list[Seen]:
    seen = await _see(here, here.db, offer_ids)
    return [seen[offer_id] for offer_id in offer_ids]


async def _standings(
    here: Orders, db: Executor, guests: Sequence[Guest]
) -> Mapping[Guest, Standing]:
    seen = await _see(here, db, [guest.offer_id for guest in guests])
    entries = await queries.select_entries(
        db,
        offer_ids=[guest.offer_id for guest in guests],
        customer_ids=[guest.customer_id for guest in guests],
    )
    standings = [Standing(entry, seen[entry.offer_id]) for entry in entries]
    return {standing.guest: standing for standing in standings}


async def _see(here: Orders, db: Executor, offer_ids: Sequence[UUID]) -> Mapping[UUID, Seen]:
    rows = await queries.select_rooms(db, list(set(offer_ids)))
    at = monotonic()
    seen = {room.offer_id: Seen(room, at) for room in rows}
    for one in seen.values():
        here.rooms.keep(one)
    return seen


def turn_of(here: Orders, standing: Standing) -> Turn:
    """What its customer is told at this moment."""
    entry, seen = standing
    room, now = seen.room, seen.now()
    state = _state(entry, room, now)
    admission = position = None
    if state == "admitted":
        admission = write_admission(admission_key(here.settings.secret), standing.guest).decode()
    if state == "waiting" and entry.number is not None:
        position = max(0, entry.number - room.next_number)  # the look may be a moment old
    return Turn(
        state=state,
        sale=_sale(room, now),
        position=position,
        people=room.gathered + room.turns + 1 - room.next_number,
        turn_at=entry.turn_at,
        expires_at=entry.turn_at and entry.turn_at + PATIENCE,
        admission=admission,
        now=now,
    )


def _sale(room: Room, now: datetime) -> Sale:
    return sale_of(now, opens_at=room.opens_at, closes_at=room.closes_at, remaining=room.remaining)


def _state(entry: Entry, room: Room, now: datetime) -> State:
    return state_of(
        now,
        _sale(room, now),
        has_room=room.admit_per_s is not None,
        turn_at=entry.turn_at,
        used=entry.used_at is not None,
    )


async def remove_rooms(db: Database) -> None:
    """Of sales that have been over for a day. Whoever is cut off in the middle is taken over from."""
    for offer_id in await queries.select_rooms_over(db, KEPT):
        while await queries.delete_entries(db, offer_id=offer_id, most=AT_ONCE):
            pass
        await queries.delete_room(db, offer_id)
