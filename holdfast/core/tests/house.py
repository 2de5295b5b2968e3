"""A service of one method over gRPC: what it does, and how it is, can be changed at any moment."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.types import Scope

from holdfast.cli.servers import free_port
from holdfast.core.rpc import server
from holdfast.core.web import Service
from holdfast.stubs.identity.v1.access_pb2 import WhoAmIRequest, WhoAmIResponse

WHO_AM_I = "holdfast.identity.v1.Access/WhoAmI"
Who = Callable[[Scope], Awaitable[WhoAmIResponse]]


async def _you(scope: Scope) -> WhoAmIResponse:
    return WhoAmIResponse(id="you")


@dataclass
class House:
    url: str = field(default_factory=lambda: f"grpc://127.0.0.1:{free_port()}")
    calls: int = 0
    ill: Exception | None = None

    answer: Who = _you

    @asynccontextmanager
    async def open(self, drain_s: float = 5) -> AsyncIterator[None]:
        async def who_am_i(here: "House", asked: WhoAmIRequest, scope: Scope) -> WhoAmIResponse:
            self.calls += 1
            return await here.answer(scope)

        async def check(here: "House") -> None:
            if here.ill:
                raise here.ill

        service = Service(
            name="house",
            lifespan=self.open,
            checks={"itself": check},
            grpc=lambda: {WHO_AM_I: who_am_i},
        )
        async with server.answering(service, self, self.url.removeprefix("grpc://"), drain_s):
            yield
