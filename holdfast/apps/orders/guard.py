"""Who is calling: customers by their token alone, operators by what identity says at this moment."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from holdfast.apps.orders.resources import Here


async def _customer(here: Here, request: Request) -> UUID:
    return (await here.callers.identify(request.scope)).sub


Customer = Annotated[UUID, Depends(_customer)]


def permits(permission: str) -> Callable[..., Awaitable[UUID]]:
    """A dependency that lets in only callers with the permission."""

    async def permitted(here: Here, request: Request) -> UUID:
        return await here.callers.require(request.scope, permission)

    return permitted
