"""Proof that a sale was fair: receipts that anyone can check, the winners in order, the ledger."""

from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Response
from msgspec import Meta

from holdfast.apps.orders.guard import Customer
from holdfast.apps.orders.offers.schemas import UnknownOfferError
from holdfast.apps.orders.proof import queries
from holdfast.apps.orders.proof.rules import receipt_key, write_receipt
from holdfast.apps.orders.proof.schemas import LedgerOut, ReceiptOut, WinnerOut
from holdfast.apps.orders.records.queries import select_order
from holdfast.apps.orders.records.schemas import NoSuchOrderError, order_of
from holdfast.apps.orders.resources import Here
from holdfast.apps.orders.wire import answer, page
from holdfast.core.wire import PageOf, next_cursor

Place = Annotated[int, Meta(ge=1, le=2**63 - 1)]
KEYS_KEPT_S = 3600

router = APIRouter()


@router.get("/api/v1/orders/{order_id}/receipt")
async def show_receipt(here: Here, customer_id: Customer, order_id: UUID) -> Response:
    row = await select_order(here.db, customer_id=customer_id, order_id=order_id)
    if row is None:
        raise NoSuchOrderError
    key = receipt_key(here.settings.secret)
    return answer(ReceiptOut(write_receipt(order_of(row), issuer=here.settings.origin, key=key)))


@router.get("/.well-known/receipt-keys.json")
async def list_receipt_keys(here: Here) -> Response:
    public = receipt_key(here.settings.secret).as_dict(private=False)
    return Response(
        msgspec.json.encode({"keys": [public]}),
        media_type="application/jwk-set+json",
        headers={"Cache-Control": f"public, max-age={KEYS_KEPT_S}"},
    )


@router.get("/api/v1/offers/{offer_id}/winners")
async def list_winners(here: Here, offer_id: UUID, asked: PageOf) -> Response:
    async with here.db.reader() as db:
        rows = await queries.select_winners(
            db, offer_id=offer_id, after=asked.after(Place) or 0, most=asked.limit
        )
        if not rows and await queries.select_ledger(db, offer_id) is None:
            raise UnknownOfferError
    winners = [WinnerOut(*row) for row in rows]
    return page(winners, next_cursor(rows, asked.limit, lambda row: row.place))


@router.get("/api/v1/offers/{offer_id}/ledger")
async def show_ledger(here: Here, offer_id: UUID) -> Response:
    ledger = await queries.select_ledger(here.db, offer_id)
    if ledger is None:
        raise UnknownOfferError
    return answer(LedgerOut(*ledger))
