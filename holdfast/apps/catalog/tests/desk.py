"""An editor's desk: products and deals made by the API, as a test needs them."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from holdfast.core.tests.serving import Answer, Client

PRODUCTS = "/api/v1/products"
DEALS = "/api/v1/products/deals"
OFFERS = "/api/v1/offers"
NOBODY = "00000000-0000-0000-0000-000000000000"
MUG = {
    "name": "Blue mug",
    "description": "Stoneware, 300 ml.",
    "category": "kitchen",
    "price_krw": 12_900,
    "stock": 500,
}


def moment(in_s: float, now: datetime | None = None) -> str:
    return ((now or datetime.now(UTC)) + timedelta(seconds=in_s)).isoformat()


@dataclass
class Desk:
    api: Client
    token: str
    db: asyncpg.Connection

    async def ask(
        self, method: str, path: str, body: Any = None, *, api: Client | None = None
    ) -> Answer:
        return await (api or self.api).call(method, path, body, token=self.token)

    async def product(self, **told: Any) -> dict[str, Any]:
        made = await self.ask("POST", PRODUCTS, MUG | told)
        assert made.status == 201, made.body
        return dict(made.data)

    def terms(
        self, product_id: str, *, opens_in_s: float = -60, closes_in_s: float = 3600, **told: Any
    ) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "product_id": product_id,
            "price_krw": 9_900,
            "opens_at": moment(opens_in_s, now),
            "closes_at": moment(closes_in_s, now),
            "quota": 100,
        } | told

    async def deal(self, product_id: str, **told: Any) -> dict[str, Any]:
        made = await self.ask("POST", DEALS, self.terms(product_id, **told))
        assert made.status == 201, made.body
        return dict(made.data)

    async def events(self, kind: str) -> int:
        known: int = await self.db.fetchval("SELECT count(*) FROM outbox WHERE type = $1", kind)
        return known

    async def until_somebody_waits(self) -> None:
        """Return when a request waits for a lock that the test holds."""
        while not await self.db.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.005)

    async def end(self, deal_id: str) -> None:
        """Let its time be over."""
        await self.db.execute(
            "UPDATE deals SET opens_at = now() - interval '2 s', closes_at = now() - interval '1 s'"
            " WHERE id = $1",
            deal_id,
        )
