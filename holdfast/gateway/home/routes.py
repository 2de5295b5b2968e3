"""The home page at `/`, and the figures that it asks for each second."""

from datetime import datetime
from pathlib import Path

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from holdfast.core import manifest
from holdfast.gateway.home import rules
from holdfast.gateway.resources import here
from holdfast.shell.pages import Pages

pages = Pages("home", Path(__file__).parent / "pages")
router = APIRouter(include_in_schema=False)
router.include_router(pages.router)


@router.get("/")
async def show_home(request: Request) -> Response:
    supervisor = here(request).supervisor
    run = supervisor.run()
    return pages.page(
        request,
        "home.html",
        run=run,
        started_at=datetime.fromisoformat(run.started_at),
        trouble=[process for process in run.processes if process.state != "running"],
        apps=manifest.apps(),
        profile=supervisor.settings.profile,
    )


@router.get("/home/figures")
async def show_figures(request: Request) -> Response:
    supervisor = here(request).supervisor
    run = supervisor.run()
    figures = rules.combine(run.processes, await supervisor.figures(run))
    return Response(
        msgspec.json.encode(figures),
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
