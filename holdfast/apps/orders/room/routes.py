"""The waiting room by HTTP: joined, looked at, and watched until it is one's turn."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

import msgspec
from fastapi import APIRouter, Response

from holdfast.apps.orders.gauges import watchers
from holdfast.apps.orders.guard import Customer
from holdfast.apps.orders.offers.actions import require_offers
from holdfast.apps.orders.resources import Here, Orders
from holdfast.apps.orders.room import actions
from holdfast.apps.orders.room.actions import Standing, follow, turn_of
from holdfast.apps.orders.room.rules import pause_s
from holdfast.apps.orders.room.schemas import Guest
from holdfast.apps.orders.wire import answer
from holdfast.core.errors import ProblemError
from holdfast.core.sse import EventStream, event

ENDS = {"admitted", "used", "missed"}

router = APIRouter(prefix="/api/v1/offers/{offer_id}/room")


@router.post("")
async def join_room(here: Here, offer_id: UUID, customer_id: Customer) -> Response:
    await require_offers(here, [offer_id])
    joined = await here.merged(actions.join_rooms)(Guest(offer_id, customer_id))
    return answer(turn_of(here, _or_raise(joined)))


@router.get("")
async def show_turn(here: Here, offer_id: UUID, customer_id: Customer) -> Response:
    found = await here.merged(actions.find_standings)(Guest(offer_id, customer_id))
    return answer(turn_of(here, _or_raise(found)))


@router.get("/events")
async def watch_turn(here: Here, offer_id: UUID, customer_id: Customer) -> Response:
    found = await here.merged(actions.find_standings)(Guest(offer_id, customer_id))
    return EventStream(_tell(here, _or_raise(found)))


def _or_raise(standing: Standing | ProblemError) -> Standing:
    if isinstance(standing, Standing):
        return standing
    raise standing


async def _tell(here: Orders, standing: Standing) -> AsyncGenerator[bytes]:
    watchers.add(1)
    try:
        while True:
            turn = turn_of(here, standing)
            yield event("turn", msgspec.json.encode(turn))
            if turn.state in ENDS or turn.sale == "over":
                return
            await asyncio.sleep(pause_s(turn.now, turn.turn_at or standing.seen.room.opens_at))
            standing = await follow(here, standing)
    finally:
        watchers.add(-1)
