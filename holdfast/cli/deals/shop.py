"""A sale as its clients hold it and buy in it: identity, catalog and orders, by their public API.

Whatever an operator or a buyer does here could be done with curl; there is no way round the front
door. What is refused for a reason that the operator can change is told in a sentence.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import uuid4

import aiohttp
import msgspec

from holdfast.cli.deals.proof import WON, Ledger, Winner

WRITE = "catalog:write"
LARGEST_PAGE = 100
TRIES = 5
PAUSE_S = 0.25
SALE_LASTS = timedelta(hours=1)


class Body(msgspec.Struct):
    """Of any answer: a success has `data`, a failure the rest."""

    data: Any = None
    next_cursor: str | None = None
    detail: str = ""
    errors: list[dict[str, str]] = []


class Told(NamedTuple):
    status: int
    body: Body


class RushError(Exception):
    """The sale cannot be held; the sentence says why."""


class UnansweredError(RushError):
    """Nobody knows whether it was done."""


class Shop:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def sign_in(self, email: str, password: str) -> str:
        """An access token."""
        body = {"email": email, "password": password}
        told = await self._ask_again("POST", "/api/v1/auth/login", body)
        token: str = _required(told, f"{email} cannot sign in. ")["access_token"]
        return token

    async def register(self, email: str, password: str) -> None:
        body = {"email": email, "password": password}
        _required(await self._ask_again("POST", "/api/v1/auth/register", body))

    async def permit_writing(self, admin: str) -> None:
        """Make sure that the admin may write the catalog: in a new house nobody may, and the
        permission is not there; the role admin has it when it is made.
        """
        profile = _required(await self._ask("GET", "/api/v1/users/me", token=admin))
        if WRITE not in profile["permissions"]:
            new = {"name": WRITE, "description": "Change products and deals."}
            made = await self._ask("POST", "/api/v1/admin/permissions", new, token=admin)
            _required(made, f"Who holds a sale needs {WRITE}, and could not create it. ")

    async def create_product(self, admin: str, stock: int) -> str:
        new = {"name": "One of few", "category": "rush", "price_krw": 10_000, "stock": stock}
        made = _required(await self._ask("POST", "/api/v1/products", new, token=admin))
        product_id: str = made["id"]
        return product_id

    async def create_deal(self, admin: str, product_id: str, quota: int, opens_in_s: float) -> str:
        opens_at = await self._now() + timedelta(seconds=opens_in_s)
        new = {
            "product_id": product_id,
            "price_krw": 1_000,
            "opens_at": opens_at.isoformat(),
            "closes_at": (opens_at + SALE_LASTS).isoformat(),
            "quota": quota,
            "per_customer": 1,
        }
        made = _required(await self._ask("POST", "/api/v1/products/deals", new, token=admin))
        deal_id: str = made["id"]
        return deal_id

    async def opens_in_s(self, deal_id: str) -> float:
        """At most; by the service's clock, which is the one that counts."""
        deal = _required(await self._ask("GET", f"/api/v1/products/deals/{deal_id}"))
        opens_at = datetime.fromisoformat(deal["opens_at"])
        return (opens_at - await self._now()).total_seconds()

    async def order(self, buyer: str, deal_id: str) -> tuple[int, str | None, int | None]:
        """Until it is answered, always under the same key: status, order and place."""
        told = await self._ask_again(
            "POST",
            "/api/v1/orders",
            {"items": [{"offer_id": deal_id, "quantity": 1}]},
            token=buyer,
            headers={"Idempotency-Key": str(uuid4())},
        )
        if told.status != WON:
            return told.status, None, None
        order = told.body.data
        return told.status, order["id"], order["items"][0]["place"]

    async def winners(self, deal_id: str) -> list[Winner]:
        found: list[Winner] = []
        after = ""
        while True:
            path = f"/api/v1/offers/{deal_id}/winners?limit={LARGEST_PAGE}{after}"
            told = await self._ask("GET", path)
            found += [Winner(row["order_id"], row["place"]) for row in _required(told)]
            if told.body.next_cursor is None:
                return found
            after = f"&cursor={told.body.next_cursor}"

    async def ledger(self, deal_id: str) -> Ledger:
        told = _required(await self._ask("GET", f"/api/v1/offers/{deal_id}/ledger"))
        return Ledger(told["initial"], told["remaining"], told["held"], told["sold"])

    async def _now(self) -> datetime:
        told = _required(await self._ask("GET", "/api/v1/time"))
        return datetime.fromisoformat(told["now"])

    async def _ask_again(self, method: str, path: str, body: Any, **how: Any) -> Told:
        """For what may be asked twice: again when there is no answer, or one that says to come again."""
        pause_s = PAUSE_S
        for _ in range(TRIES - 1):
            with suppress(UnansweredError):
                told = await self._ask(method, path, body, **how)
                if told.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return told
            await asyncio.sleep(pause_s)
            pause_s *= 2
        return await self._ask(method, path, body, **how)

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Told:
        sent = {"Content-Type": "application/json", **headers}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._http.request(
                method, self.url + path, data=data, headers=sent
            ) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnansweredError(
                f"{self.url} does not answer: {str(error) or 'too slow'}"
            ) from None
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RushError(f"{self.url} limits requests. Start it with HOLDFAST_LIMITS=off.")
        try:
            return Told(answer.status, msgspec.json.decode(text, type=Body))
        except msgspec.DecodeError:
            raise RushError(
                f"{self.url}{path} was answered {answer.status}, but not as Holdfast answers."
                " Is this its address?"
            ) from None


def _required(told: Told, about: str = "") -> Any:
    """What was asked for; without it there is no sale."""
    if told.status >= HTTPStatus.BAD_REQUEST:
        fields = [f" {error['field']}: {error['message']}." for error in told.body.errors]
        raise RushError(f"{about}{told.body.detail}{''.join(fields)}")
    return told.body.data
