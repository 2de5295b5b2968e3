"""Placing an order: the hot route. What it needs of the framework it does itself."""

import re
from hashlib import blake2b
from uuid import UUID

import msgspec
from starlette.types import Receive, Scope, Send

from holdfast.apps.orders.gauges import decided
from holdfast.apps.orders.offers.actions import require_offers
from holdfast.apps.orders.offers.schemas import CatalogAwayError
from holdfast.apps.orders.placing.actions import Answer, place_orders
from holdfast.apps.orders.placing.schemas import (
    MOST_ITEMS,
    Asked,
    Item,
    OrderIn,
    SoldOutError,
)
from holdfast.apps.orders.records.schemas import OrderOut
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room.rules import admission_key, has_admission
from holdfast.apps.orders.room.schemas import Guest, NotAdmittedError
from holdfast.core.db import DatabaseAwayError, DatabaseBusyError
from holdfast.core.errors import BusyError, InvalidError, MalformedError, ProblemError
from holdfast.core.web import body_of

LANES = 4
KEY = re.compile(rb"[!-~]{1,255}")
_decoder = msgspec.json.Decoder(OrderIn)
_encoder = msgspec.json.Encoder()
placed = decided.of("placed")
for error in (SoldOutError, CatalogAwayError, BusyError, DatabaseAwayError, DatabaseBusyError):
    decided.of(error.name)  # from zero, or the first of its kind would be no increase


class Placed(msgspec.Struct):
    data: OrderOut


async def place_order(scope: Scope, receive: Receive, send: Send) -> None:
    here: Orders = scope["app"].state.orders
    caller = await here.callers.identify(scope)
    key = idempotency_key(scope)
    require_json(scope)
    asked = read_order(caller.sub, key, await body_of(receive))
    try:
        await require_offers(here, [item.offer_id for item in asked.items])
        require_admission(here, scope, asked)
        order = await _decide(here, asked)
    except ProblemError as problem:
        decided.of(problem.name).add()
        raise
    placed.add()
    body = _encoder.encode(Placed(order))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"location", b"/api/v1/orders/%s" % str(order.id).encode()),
    ]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _decide(here: Orders, asked: Asked) -> OrderOut:
    """Orders for one offer wait together; those for another need not wait for them."""
    if here.sold_out.covers(asked):
        raise SoldOutError
    lane = asked.items[0].offer_id.int % LANES
    answer: Answer = await here.merged(place_orders, lane=lane)(asked)
    if isinstance(answer, OrderOut):
        return answer
    try:
        raise answer
    finally:
        del answer  # its trace holds this frame: with the frame holding it, both would pile up


hot = {("POST", "/api/v1/orders"): place_order}


def idempotency_key(scope: Scope) -> str:
    """The customer's own name for the order: so that asking again after a lost answer is safe."""
    keys = [value for name, value in scope["headers"] if name == b"idempotency-key"]
    if len(keys) == 1 and KEY.fullmatch(keys[0]):
        return str(keys[0].decode())
    wanted = "must be there once, 1 to 255 printable ASCII characters without spaces"
    raise InvalidError(("Idempotency-Key", wanted))


def require_admission(here: Orders, scope: Scope, asked: Asked) -> None:
    """Refuse whoever was never admitted to what has a waiting room, by what is known here.

    It keeps the crowd out without a statement. Whose turn it is now is decided with the order.
    """
    for item in asked.items:
        known = here.known.get(item.offer_id)
        if known is not None and known.has_room:
            guest = Guest(item.offer_id, asked.customer_id)
            if not has_admission(admission_key(here.settings.secret), guest, _admissions(scope)):
                raise NotAdmittedError


def _admissions(scope: Scope) -> list[bytes]:
    shown = [value for name, value in scope["headers"] if name == b"admission"]
    return [one.strip() for one in b",".join(shown).split(b",", MOST_ITEMS)]


def require_json(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"content-type" and value.split(b";")[0].strip().lower() == b"application/json":
            return
    raise InvalidError(("Content-Type", "must be application/json"))


def read_order(customer_id: UUID, key: str, body: bytes) -> Asked:
    try:
        order = _decoder.decode(body)
    except msgspec.ValidationError as error:
        wrong, _, where = str(error).partition(" - at `$")
        raise InvalidError((where.strip(".`") or "body", wrong)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedError from None
    items = sorted(Item(item.offer_id, item.quantity) for item in order.items)
    if len({item.offer_id for item in items}) < len(items):
        raise InvalidError(("items", "name each offer once, with a quantity"))
    digest = blake2b(digest_size=16)
    for item in items:
        digest.update(item.offer_id.bytes + item.quantity.to_bytes(4, "big"))
    return Asked(customer_id, key, digest.digest(), tuple(items))
