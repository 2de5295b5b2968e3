"""The shop's pages. They are the same for everybody: what is in them, the browser asks the API."""

from pathlib import Path
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from holdfast.gateway.resources import here
from holdfast.shell.pages import Pages

pages = Pages("shop", Path(__file__).parent / "pages")
router = APIRouter(include_in_schema=False)
router.include_router(pages.router)


@router.get("/shop")
async def show_shop(request: Request) -> Response:
    return pages.page(request, "shop.html")


@router.get("/shop/offers/{offer_id}")
async def show_offer(request: Request, offer_id: UUID) -> Response:
    return pages.page(request, "offer.html", offer_id=offer_id)


@router.get("/shop/orders")
async def show_orders(request: Request) -> Response:
    return pages.page(request, "orders.html")


@router.get("/shop/orders/{order_id}")
async def show_order(request: Request, order_id: UUID) -> Response:
    stand_in = here(request).supervisor.settings.profile != "production"
    return pages.page(request, "order.html", order_id=order_id, stand_in=stand_in)
