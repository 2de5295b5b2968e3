"""Who may change the catalog: whom identity says so of, at this moment."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from holdfast.apps.catalog.resources import Here

WRITE = "catalog:write"


async def _editor(here: Here, request: Request) -> UUID:
    return await here.callers.require(request.scope, WRITE)


Editor = Annotated[UUID, Depends(_editor)]
