"""The usual ways to sell (`lab.deals.ways`), each at a path of its name, on the frame of orders."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.apps.orders.options import Options
from holdfast.apps.orders.placing.routes import idempotency_key, read_order
from holdfast.apps.orders.placing.schemas import SoldOutError
from holdfast.apps.orders.resources import Orders
from holdfast.core.settings import Settings
from holdfast.core.web import Service, body_of, build
from lab.deals.ways import WAYS, Sale, Way


def _route(way: Way) -> ASGIApp:
    async def place(scope: Scope, receive: Receive, send: Send) -> None:
        here: Orders = scope["app"].state.one_by_one
        caller = await here.callers.identify(scope)
        asked = read_order(caller.sub, idempotency_key(scope), await body_of(receive))
        order_id = await way(Sale(here, asked))
        if order_id is None:
            raise SoldOutError
        body = msgspec.json.encode({"data": {"id": order_id, "status": "reserved"}})
        headers: Any = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return place


settings = Settings.load(os.environ)


@asynccontextmanager
async def _open() -> AsyncIterator[Orders]:
    async with Orders.open(settings, Options()) as here:
        yield here


app = build(
    settings,
    Service(
        name="one_by_one",
        lifespan=_open,
        hot={("POST", f"/{name}"): _route(way) for name, way in WAYS.items()},
    ),
)
