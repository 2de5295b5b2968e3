"""`/docs/{app}`: the contract to read. `/contracts/{app}.v1.yaml`: the contract itself."""

from functools import cache
from pathlib import Path

import yaml
from fastapi import APIRouter, Request
from starlette.responses import Response

from holdfast.core import manifest
from holdfast.core.errors import NotFoundError
from holdfast.gateway.reference.rules import Contract
from holdfast.gateway.resources import here
from holdfast.shell.pages import Pages

pages = Pages("reference", Path(__file__).parent / "pages")
router = APIRouter(include_in_schema=False)
router.include_router(pages.router)


@router.get("/docs/{name}")
async def show_reference(request: Request, name: str) -> Response:
    app = _find(name)
    contract = _read_contract(app.contract)
    url = here(request).supervisor.run().url
    return pages.page(request, "reference.html", app=app, contract=contract, url=url)


@router.get("/contracts/{name}.v1.yaml")
async def show_contract(name: str) -> Response:
    body = _find(name).contract.read_bytes()
    return Response(body, headers={"Cache-Control": "no-cache"}, media_type="application/yaml")


def _find(name: str) -> manifest.App:
    try:
        return manifest.find(name)
    except manifest.NoSuchAppError:
        raise NotFoundError from None


@cache
def _read_contract(path: Path) -> Contract:
    return Contract(yaml.safe_load(path.read_text(encoding="utf-8")))
