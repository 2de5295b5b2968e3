"""What tests of a sale share: an editor of the catalog, and a deal that they have made."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from holdfast.apps.identity.tests.api import Account, Api
from holdfast.core.tests.serving import Answer, Client

LASTS = timedelta(hours=1)
SHORTLY_S = 30
BETWEEN_S = 0.02


async def answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What somebody is told in the end who comes again when asked to: one service waits a second or
    two for another, then it says 503.
    """
    async with asyncio.timeout(SHORTLY_S):
        while (answer := await ask()).status == 503:
            await asyncio.sleep(BETWEEN_S)
    return answer


async def make_editor(identity: Api, admin: Account) -> str:
    """The admin's token, which may change the catalog from now on."""
    new = {"name": "catalog:write", "description": "Change products and deals."}
    answer = await identity.call("POST", "/api/v1/admin/permissions", new, token=admin.access)
    assert answer.status in {201, 409}, answer.body
    return admin.access


async def make_deal(catalog: Client, editor: str, **told: Any) -> str:
    """Of a product of its own; open already, if it is not said when it opens."""
    product = {"name": "Blue mug", "category": "kitchen", "price_krw": 12_900, "stock": 100}
    answer = await answered(
        partial(catalog.call, "POST", "/api/v1/products", product, token=editor)
    )
    assert answer.status == 201, answer.body
    opens_at = told.pop("opens_at", datetime.now(UTC) - timedelta(minutes=1))
    deal = {
        "product_id": answer.data["id"],
        "price_krw": 9_900,
        "opens_at": opens_at.isoformat(),
        "closes_at": (opens_at + LASTS).isoformat(),
        **told,
    }
    answer = await answered(
        partial(catalog.call, "POST", "/api/v1/products/deals", deal, token=editor)
    )
    assert answer.status == 201, answer.body
    deal_id: str = answer.data["id"]
    return deal_id


async def order(orders: Client, customer: str, deal_id: str, key: str) -> Answer:
    return await orders.call(
        "POST",
        "/api/v1/orders",
        {"items": [{"offer_id": deal_id, "quantity": 1}]},
        token=customer,
        headers={"Idempotency-Key": key},
    )
