"""The live view at `/live`, and the figures that it asks for each second.

They are under `/api/`, where the front door knows by the page's cookie who asks.
"""

from pathlib import Path

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from holdfast.gateway.resources import here
from holdfast.shell.pages import Pages

PERMISSION = "orders:read"

pages = Pages("live", Path(__file__).parent / "pages")
router = APIRouter(include_in_schema=False)
router.include_router(pages.router)


@router.get("/live")
async def show_live(request: Request) -> Response:
    return pages.page(request, "live.html", permission=PERMISSION)


@router.get("/api/v1/live/figures")
async def show_live_figures(request: Request) -> Response:
    gateway = here(request)
    await gateway.callers.require(request.scope, PERMISSION)
    return Response(
        msgspec.json.encode(await gateway.watch.figures()),
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
