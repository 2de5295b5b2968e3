"""Orders that are asked for and decided about later: the hot route that takes them in, and two ways
to learn what became of one.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from http import HTTPStatus
from uuid import UUID

import msgspec
from fastapi import APIRouter, Response
from starlette.types import Receive, Scope, Send

from holdfast.apps.orders.guard import Customer
from holdfast.apps.orders.offers.actions import require_offers
from holdfast.apps.orders.offers.schemas import UnknownOfferError
from holdfast.apps.orders.placing.routes import (
    idempotency_key,
    read_order,
    require_admission,
    require_json,
)
from holdfast.apps.orders.placing.schemas import Asked
from holdfast.apps.orders.requests.actions import request_orders
from holdfast.apps.orders.requests.queries import select_request
from holdfast.apps.orders.requests.schemas import NoSuchRequestError, RequestOut, request_of
from holdfast.apps.orders.resources import Here, Orders
from holdfast.apps.orders.wire import answer
from holdfast.core.errors import BusyError
from holdfast.core.sse import HEARTBEAT, HEARTBEAT_S, EventStream, event
from holdfast.core.web import body_of

PATH = "/api/v1/order-requests"
router = APIRouter(prefix=PATH)


async def request_order(scope: Scope, receive: Receive, send: Send) -> None:
    here: Orders = scope["app"].state.orders
    caller = await here.callers.identify(scope)
    key = idempotency_key(scope)
    require_json(scope)
    asked = read_order(caller.sub, key, await body_of(receive))
    with suppress(BusyError, UnknownOfferError):  # what is sold is judged with the decision
        await require_offers(here, [item.offer_id for item in asked.items])
    require_admission(here, scope, asked)
    request = await _store(here, asked)
    stored = answer(request, HTTPStatus.ACCEPTED)
    stored.headers["Location"] = f"{PATH}/{request.id}"
    await stored(scope, receive, send)


async def _store(here: Orders, asked: Asked) -> RequestOut:
    request = await here.merged(request_orders)(asked)
    if isinstance(request, RequestOut):
        return request
    try:
        raise request
    finally:
        del request  # see `placing`: the two would hold each other


hot = {("POST", PATH): request_order}


@router.get("/{request_id}")
async def show_request(here: Here, request_id: UUID, customer_id: Customer) -> Response:
    return answer(await _own(here, request_id, customer_id))


@router.get("/{request_id}/events")
async def watch_request(here: Here, request_id: UUID, customer_id: Customer) -> Response:
    here.listeners.require_room()
    return EventStream(_tell(here, await _own(here, request_id, customer_id)))


async def _own(here: Orders, request_id: UUID, customer_id: UUID) -> RequestOut:
    row = await select_request(here.db, request_id=request_id, customer_id=customer_id)
    if row is None:
        raise NoSuchRequestError
    return request_of(row)


async def _tell(here: Orders, request: RequestOut) -> AsyncGenerator[bytes]:
    yield _event(request)
    if request.state != "waiting":
        return
    with here.listeners.listening(here.db, request.id) as decided:
        while not decided.done():
            await asyncio.wait({decided}, timeout=HEARTBEAT_S)
            yield _event(decided.result()) if decided.done() else HEARTBEAT


def _event(request: RequestOut) -> bytes:
    return event("request", msgspec.json.encode(request))
