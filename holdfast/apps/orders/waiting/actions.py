"""Customers stand in line for what is sold out, each for one unit, in the order of their arrival.

Whoever is served leaves the line in the same transaction (`handover`). What is left to do here
by the clock: to send those home whose sale is over.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from holdfast.apps.orders.handover.actions import serve_waiting
from holdfast.apps.orders.placing.queries import lock_offers
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.waiting import queries
from holdfast.apps.orders.waiting.rules import objection
from holdfast.apps.orders.waiting.schemas import PlaceOut, Wish
from holdfast.core.db import Database, Executor
from holdfast.core.errors import ProblemError
from holdfast.core.merge import by_key


async def join_waiting(here: Orders, wishes: list[Wish]) -> list[PlaceOut | ProblemError]:
    """Tell each their place in line, or why they cannot have one. Through `here.merged`: many come
    at the moment in which something is sold out.
    """
    async with here.db.transaction() as db:
        refused = await _join(db, list(dict.fromkeys(wishes)))
        places = await _places(db, wishes)
    return [refused.get(wish) or places[wish] for wish in wishes]


async def _join(db: Executor, wishes: Sequence[Wish]) -> dict[Wish, ProblemError]:
    """Let in who may; answers who may not. No stock returns while the offers are locked."""
    offer_ids = sorted({wish.offer_id for wish in wishes})
    offers = {row.id: row for row in await lock_offers(db, offer_ids)}
    in_line = dict.fromkeys(offer_ids, 0)
    in_line.update(await queries.select_lines(db, offer_ids))
    standings = {
        Wish(row.offer_id, row.customer_id): row
        for row in await queries.select_standings(db, **_columns(wishes))
    }
    refused: dict[Wish, ProblemError] = {}
    joining = []
    for wish in wishes:
        offer, standing = offers[wish.offer_id], standings[wish]
        if standing.waits:
            continue
        problem = objection(
            state=offer.state,
            remaining=offer.remaining,
            per_customer=offer.per_customer,
            units=standing.units,
            in_line=in_line[wish.offer_id],
        )
        if problem:
            refused[wish] = problem
        else:
            joining.append(wish)
            in_line[wish.offer_id] += 1
    await queries.insert_waiting(db, **_columns(joining))
    return refused


async def show_places(here: Orders, wishes: list[Wish]) -> Sequence[PlaceOut | None]:
    """Where each stands, who does. Through `here.merged`: one look at a line serves all who ask."""
    return await by_key(partial(_places, here.db))(wishes)


async def _places(db: Executor, wishes: Sequence[Wish]) -> Mapping[Wish, PlaceOut]:
    rows = await queries.select_places(db, **_columns(wishes))
    return {Wish(row.offer_id, row.customer_id): PlaceOut(row.position, row.total) for row in rows}


def _columns(wishes: Sequence[Wish]) -> dict[str, list[UUID]]:
    return {
        "offer_ids": [wish.offer_id for wish in wishes],
        "customer_ids": [wish.customer_id for wish in wishes],
    }


async def leave_waiting(here: Orders, wish: Wish) -> None:
    """Whoever does not wait has nothing to leave, and that is all right."""
    await queries.delete_waiting(here.db, **wish._asdict())


async def tend_lines(db: Database, hold_s: float) -> None:
    """Send those home whose sale is over; and serve whom nobody served when there was something."""
    offers = await queries.select_lines_to_tend(db)
    if offers:
        async with db.transaction() as connection:
            await lock_offers(connection, offers)
            await serve_waiting(connection, offers, hold_s)
            await queries.delete_waiting_in_vain(connection, offers)
