import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.core.errors import (
    BusyError,
    ConflictError,
    InvalidError,
    ProblemError,
    UnauthenticatedError,
    problem_name,
)
from holdfast.core.settings import Settings
from holdfast.core.tests.test_http_metrics import served
from holdfast.core.web import LARGEST_BODY, DegradedError, Service, build

SETTINGS = Settings.load(
    {"DATABASE_URL": "postgresql://a@b/c", "REDIS_URL": "redis://b", "HOLDFAST_SECRET": "s" * 32}
)


class SoldOutError(ProblemError):
    status = ConflictError.status
    sentence = "All are sold."


class Order(BaseModel):
    pieces: int
    card: str


def routes() -> APIRouter:
    router = APIRouter()

    @router.post("/orders")
    async def place_order(order: Order) -> dict[str, int]:
        return {"pieces": order.pieces}

    @router.get("/orders/{order_id}")
    async def show_order(order_id: str) -> dict[str, str]:
        return {"id": order_id}

    @router.get("/orders/all")
    async def list_orders() -> list[str]:
        return ["one", "two"]

    @router.get("/sold-out")
    async def show_sold_out() -> None:
        raise SoldOutError(left=0)

    @router.get("/busy")
    async def show_busy() -> None:
        raise BusyError(retry_after_s=1.2)

    @router.get("/teapot")
    async def show_teapot() -> None:
        raise HTTPException(418, "Short and stout.", headers={"X-Tea": "green"})

    @router.get("/broken")
    async def show_broken() -> None:
        raise RuntimeError("the reason is ours alone")

    return router


async def answer_hot(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hot")(scope, receive, send)


async def refuse_hot(scope: Scope, receive: Receive, send: Send) -> None:
    raise UnauthenticatedError


async def break_hot(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the reason is ours alone")


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


HOT: dict[tuple[str, str], ASGIApp] = {
    ("GET", "/hot"): answer_hot,
    ("GET", "/hot/refused"): refuse_hot,
    ("GET", "/hot/broken"): break_hot,
}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    app = build(SETTINGS, Service("shop", nothing, [routes()], HOT))
    async with served(app) as url, aiohttp.ClientSession(url) as session:
        yield session


async def problem(answering: Any) -> dict[str, Any]:
    async with answering as answer:
        assert answer.headers["Content-Type"] == "application/problem+json"
        told: dict[str, Any] = msgspec.json.decode(await answer.read())
        assert told["status"] == answer.status
        return told


async def test_an_error_is_answered_with_its_name_its_sentence_and_what_it_adds(
    http: aiohttp.ClientSession,
) -> None:
    assert await problem(http.get("/sold-out")) == {
        "type": "/problems/sold-out",
        "title": "Conflict",
        "status": 409,
        "detail": "All are sold.",
        "left": 0,
    }


async def test_a_path_without_parameters_is_found_before_one_that_has_some(
    http: aiohttp.ClientSession,
) -> None:
    for path, expected in (("/orders/all", ["one", "two"]), ("/orders/7", {"id": "7"})):
        async with http.get(path) as answer:
            assert await answer.json() == expected


async def test_a_busy_service_says_in_whole_seconds_when_to_come_again(
    http: aiohttp.ClientSession,
) -> None:
    async with http.get("/busy") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize("path", ["/broken", "/hot/broken"])
async def test_a_fault_of_ours_is_a_500_that_tells_nothing(
    http: aiohttp.ClientSession, path: str
) -> None:
    told = await problem(http.get(path))
    assert told["status"] == 500
    assert "ours alone" not in str(told)


async def test_what_the_framework_refuses_is_a_problem_too(http: aiohttp.ClientSession) -> None:
    assert (await problem(http.get("/nowhere")))["status"] == 404
    assert (await problem(http.get("/orders")))["status"] == 405
    told = await problem(http.get("/teapot"))
    assert (told["status"], told["detail"]) == (418, "Short and stout.")
    async with http.get("/teapot") as answer:
        assert answer.headers["X-Tea"] == "green"


async def test_an_unacceptable_field_is_named_and_its_value_is_not(
    http: aiohttp.ClientSession,
) -> None:
    told = await problem(http.post("/orders", json={"pieces": "4111-1111", "card": ["4111"]}))
    assert told["status"] == 422
    assert [error["field"] for error in told["errors"]] == ["pieces", "card"]
    assert "4111" not in str(told)


async def test_a_body_that_is_not_json_is_malformed(http: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": "application/json"}
    told = await problem(http.post("/orders", data=b'{"pieces": ', headers=headers))
    assert (told["status"], told["type"]) == (400, "/problems/malformed")


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        await asyncio.sleep(0)
        yield b" " * 1024


async def test_a_body_is_bounded_by_what_it_says_and_by_what_it_is(
    http: aiohttp.ClientSession,
) -> None:
    headers = {"Content-Type": "application/json"}
    order = b'{"pieces": 1, "card": ""}'
    fits = order.ljust(LARGEST_BODY)
    async with http.post("/orders", data=fits, headers=headers) as answer:
        assert answer.status == 200
    told = await problem(http.post("/orders", data=fits + b" ", headers=headers))
    assert told["type"] == "/problems/too-large"
    told = await problem(http.post("/orders", data=chunks(2 * LARGEST_BODY), headers=headers))
    assert told["type"] == "/problems/too-large"


async def test_a_hot_route_answers_its_method_only_and_may_refuse_as_any_other(
    http: aiohttp.ClientSession,
) -> None:
    async with http.get("/hot") as answer:
        assert await answer.text() == "hot"
    async with http.post("/hot") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    async with http.get("/hot/refused") as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


class Shop:
    """A service whose health can be chosen, and whose lifespan is told."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told
        self.illness: Exception | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator["Shop"]:
        self.told.append(f"{self.name} opens")
        yield self
        self.told.append(f"{self.name} closes")

    async def check(self, resources: Any) -> None:
        assert resources is self
        if self.illness:
            raise self.illness

    @property
    def service(self) -> Service:
        return Service(self.name, self.lifespan, checks={"stock": self.check})


async def test_services_close_in_the_opposite_order_of_opening() -> None:
    told: list[str] = []
    app = build(SETTINGS, Shop("a", told).service, Shop("b", told).service)
    async with served(app):
        assert told == ["a opens", "b opens"]
    assert told[2:] == ["b closes", "a closes"]


async def test_readiness_rests_on_every_check_and_liveness_on_none() -> None:
    shop = Shop("shop", [])
    async with served(build(SETTINGS, shop.service)) as url, aiohttp.ClientSession(url) as http:

        async def readiness() -> tuple[int, str]:
            async with http.get("/health/ready") as answer:
                return answer.status, (await answer.json())["checks"]["shop.stock"]

        assert await readiness() == (200, "ok")
        shop.illness = DegradedError("few are left")
        assert await readiness() == (200, "degraded: few are left")
        shop.illness = RuntimeError("gone")
        assert await readiness() == (503, "failed: gone")
        async with http.get("/health/live") as answer:
            assert answer.status == 200


def test_an_error_is_known_by_its_name_in_kebab_case() -> None:
    assert problem_name(SoldOutError) == "sold-out"
    assert problem_name(BusyError) == "busy"


def test_an_invalid_request_tells_each_field_with_its_reason() -> None:
    assert InvalidError(("email", "is taken")).problem["errors"] == [
        {"field": "email", "message": "is taken"}
    ]
