"""Notes behind identity; see ../behind-identity.md. Each request is let in by its token alone."""

import os
from collections import defaultdict
from typing import Annotated
from uuid import UUID

from fastapi import Body, Depends, FastAPI, Request

from holdfast.core.errors import ProblemError
from holdfast.core.jwks import RemoteKeys
from holdfast.core.tokens import Claims, TokenVerifier
from holdfast.core.web import problem_response

IDENTITY = os.environ.get("IDENTITY_URL", "http://localhost:8000")
keys = RemoteKeys(f"{IDENTITY}/.well-known/jwks.json")
tokens = TokenVerifier(issuer=IDENTITY, audience="holdfast", find_key=keys.find)
app = FastAPI(exception_handlers={ProblemError: lambda _, problem: problem_response(problem)})
notes: defaultdict[UUID, list[str]] = defaultdict(list)


async def caller(request: Request) -> Claims:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    return await tokens.verify(token.encode())


@app.get("/notes")
async def list_notes(caller: Annotated[Claims, Depends(caller)]) -> list[str]:
    return notes[caller.sub]


@app.post("/notes", status_code=201)
async def add_note(
    caller: Annotated[Claims, Depends(caller)], text: Annotated[str, Body(embed=True)]
) -> list[str]:
    notes[caller.sub].append(text)
    return notes[caller.sub]
