"""A notice for everybody; see ../behind-identity.md. Who may change it is asked of identity."""

import os
from http import HTTPStatus
from typing import Annotated

import aiohttp
from fastapi import Body, Depends, FastAPI, HTTPException, Request

IDENTITY = os.environ.get("IDENTITY_URL", "http://localhost:8000")
app = FastAPI()
app.state.notice = "Welcome."


async def may_write(request: Request) -> None:
    """Passes the caller's token on: the answer holds at this very moment."""
    headers = {"Authorization": request.headers.get("authorization", "")}
    try:
        async with aiohttp.request("GET", f"{IDENTITY}/api/v1/users/me", headers=headers) as answer:
            told = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError):
        raise HTTPException(503, "Identity is away.", {"Retry-After": "1"}) from None
    if answer.status != HTTPStatus.OK:
        raise HTTPException(answer.status, told["detail"])
    if "notices:write" not in told["data"]["permissions"]:
        raise HTTPException(403, "This needs the permission notices:write.")


@app.get("/notice")
async def show_notice() -> str:
    return str(app.state.notice)


@app.put("/notice", dependencies=[Depends(may_write)])
async def change_notice(text: Annotated[str, Body(embed=True)]) -> str:
    app.state.notice = text
    return text
