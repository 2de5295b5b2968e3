"""A payment provider to develop against: a process of its own that takes nobody's money.

It keeps to `contracts/external/payment-provider.yaml`, and the payment method says what it does. It
forgets everything when it ends, and does not start in production.
"""

import asyncio
import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.apps.orders.options import Options
from holdfast.core.settings import SettingsError

APPROVED = {"card-approved", "card-slow", "card-lost-answer", "card-lost-refund"}  # nothing else
SLOW_S = 2.0


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount_krw: Annotated[int, msgspec.Meta(ge=0, le=10**15)]
    method: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,200}$")]


class Payment(msgspec.Struct):
    wanted: Wanted | None  # None: refunded before anybody asked for it
    status: Literal["approved", "declined", "refunded"]

    def behaves(self, method: str) -> bool:
        return self.wanted is not None and self.wanted.method == method


class StandIn:
    def __init__(self, key: str) -> None:
        self._authorization = f"Bearer {key}"
        self._ledger: dict[UUID, Payment] = {}

    async def payment(self, request: Request) -> Response:
        answering = self.charge if request.method == "PUT" else self.look_up
        return await answering(request)

    async def charge(self, request: Request) -> Response:
        reference, wanted = self._reference(request), _wanted(await request.body())
        payment = self._ledger.get(reference)
        if payment is None:
            status: Literal["approved", "declined"]
            status = "approved" if wanted.method in APPROVED else "declined"
            payment = self._ledger[reference] = Payment(wanted, status)
            if payment.behaves("card-slow"):
                await asyncio.sleep(SLOW_S)
        if payment.wanted and payment.wanted.amount_krw != wanted.amount_krw:
            raise HTTPException(HTTPStatus.CONFLICT)
        return _told(reference, payment, lost=payment.behaves("card-lost-answer"))

    async def look_up(self, request: Request) -> Response:
        reference = self._reference(request)
        if reference not in self._ledger:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return _told(reference, self._ledger[reference])

    async def refund(self, request: Request) -> Response:
        reference = self._reference(request)
        payment = self._ledger.setdefault(reference, Payment(None, "declined"))
        if payment.status == "approved":
            payment.status = "refunded"
        return _told(reference, payment, lost=payment.behaves("card-lost-refund"))

    def _reference(self, request: Request) -> UUID:
        if request.headers.get("authorization") != self._authorization:
            raise HTTPException(HTTPStatus.UNAUTHORIZED)
        try:
            return UUID(request.path_params["reference"])
        except ValueError:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY) from None


def _wanted(body: bytes) -> Wanted:
    try:
        return msgspec.json.decode(body, type=Wanted)
    except msgspec.ValidationError:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None


def _told(reference: UUID, payment: Payment, *, lost: bool = False) -> Response:
    if lost:  # what a proxy in front of it says when it has waited for too long
        raise HTTPException(HTTPStatus.GATEWAY_TIMEOUT)
    body = msgspec.json.encode({"reference": reference, "status": payment.status})
    return Response(body, media_type="application/json")


async def _live(_: Request) -> Response:
    return Response()


def application(key: str) -> Starlette:
    provider = StandIn(key)
    return Starlette(
        routes=[
            Route("/health/live", _live),
            Route("/payments/{reference}", provider.payment, methods=["GET", "PUT"]),
            Route("/payments/{reference}/refund", provider.refund, methods=["PUT"]),
        ]
    )


def stand_in(port: int, environ: Mapping[str, str] = os.environ) -> None:
    """Until it is told to stop."""
    if environ.get("HOLDFAST_PROFILE") == "production":
        raise SettingsError("The stand-in takes nobody's money: production needs a real provider.")
    key = Options.load(environ).payment_key
    uvicorn.run(application(key), host="127.0.0.1", port=port, log_config=None, access_log=False)
