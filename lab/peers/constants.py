"""A constant answer, three ways: what the server and each framework cost with nothing to do."""

import os

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

BODY = os.environ.get("LAB_BODY", "").encode()
PATH = "/api/v1/users/me"
HEADERS = {"cache-control": "no-store"}
RAW_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
    (b"cache-control", b"no-store"),
]


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS})
        await send({"type": "http.response.body", "body": BODY})


async def _answer(_: Request) -> Response:
    return Response(BODY, headers=HEADERS, media_type="application/json")


starlette = Starlette(routes=[Route(PATH, _answer)])
fastapi = FastAPI(openapi_url=None)


@fastapi.get(PATH)
async def show_me() -> Response:
    return Response(BODY, headers=HEADERS, media_type="application/json")
