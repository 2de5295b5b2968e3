"""A shop to test in: offers put on the shelf, and customers who buy."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import Answer, Client

TOO_BUSY = {"/problems/database-away", "/problems/database-busy"}


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What somebody is answered who asks again while the database is too busy.

    A worker that stands still for a second in a transaction is cut off, so that nobody waits for
    it; where a crowd comes to a slow machine, that may be any worker. Say by which key.
    """
    while (answer := await ask()).status == 503 and answer.body["type"] in TOO_BUSY:
        await asyncio.sleep(0.1)
    return answer


@dataclass
class Shop:
    api: Client
    db: asyncpg.Connection
    issuer: Issuer

    async def offer(
        self,
        stock: int = 10,
        *,
        price_krw: int = 1_000,
        per_customer: int | None = 1,
        opens_in_s: float | None = -60,
        closes_in_s: float | None = 3600,
        admit_per_s: int | None = None,
    ) -> UUID:
        """An offer that the catalog has just confirmed."""
        offer_id: UUID = await self.db.fetchval(
            """INSERT INTO offers (id, kind, product_id, name, price_krw, opens_at, closes_at,
                 per_customer, initial, remaining, admit_per_s)
               VALUES (uuidv7(), 'deal', uuidv7(), 'Blue mug', $1, now() + $2 * interval '1 s',
                 now() + $3 * interval '1 s', $4, $5, $5, $6) RETURNING id""",
            price_krw,
            opens_in_s,
            closes_in_s,
            per_customer,
            stock,
            admit_per_s,
        )
        return offer_id

    async def buy(
        self,
        *offers: UUID,
        quantity: int = 1,
        token: str | None = None,
        key: str | None = None,
        admission: str | None = None,
        api: Client | None = None,
    ) -> Answer:
        """As somebody new, under a new key, unless it is said otherwise."""
        items = [{"offer_id": str(offer_id), "quantity": quantity} for offer_id in offers]
        return await (api or self.api).call(
            "POST",
            "/api/v1/orders",
            {"items": items},
            token=token or self.issuer.token(),
            headers={"Idempotency-Key": key or str(uuid4())}
            | ({"Admission": admission} if admission is not None else {}),
        )

    async def ledger(self, offer_id: UUID) -> dict[str, Any]:
        row = await self.db.fetchrow(
            "SELECT initial, remaining, held, sold FROM offers WHERE id = $1", offer_id
        )
        return dict(row or {})
