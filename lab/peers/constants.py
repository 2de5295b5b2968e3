"""A constant answer, four ways: what the server and each frame cost with nothing to do."""

import os

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from holdfast.core.telemetry.http import observed
from holdfast.core.web import Frame

BODY = os.environ.get("LAB_BODY", "").encode()
PATH = os.environ.get("LAB_PATH", "/api/v1/users/me")
HEADERS = {"cache-control": "no-store"}
OWN_HEADERS = os.environ.get("LAB_HEADERS", "cache-control: no-store").encode()
RAW_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
    *(
        (name, value)
        for name, _, value in (one.partition(b": ") for one in OWN_HEADERS.split(b"\n"))
    ),
]


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS})
        await send({"type": "http.response.body", "body": BODY})


async def _answer(_: Request) -> Response:
    return Response(BODY, headers=HEADERS, media_type="application/json")


hot = observed(Frame(FastAPI(openapi_url=None), {("GET", PATH): raw}))  # as our own are served
starlette = Starlette(routes=[Route(PATH, _answer)])
fastapi = FastAPI(openapi_url=None)


@fastapi.get(PATH)
async def show_me() -> Response:
    return Response(BODY, headers=HEADERS, media_type="application/json")
