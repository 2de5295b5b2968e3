"""A till to test at: the payment stand-in as a process of its own, and customers who pay there."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from uuid import UUID

import asyncpg

from holdfast.apps.orders.payments.jobs import settle_due
from holdfast.apps.orders.payments.schemas import Told
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.shop import Shop
from holdfast.cli.servers import free_port
from holdfast.core.tests.serving import Answer, Client

START_TIMEOUT_S = 30


@dataclass
class Till:
    shop: Shop
    here: Orders

    @property
    def db(self) -> asyncpg.Connection:
        return self.shop.db

    async def order(self, offer: UUID, token: str) -> UUID:
        return UUID((await self.shop.buy(offer, token=token)).data["id"])

    async def pay(
        self, order_id: UUID, token: str, method: str = "card-approved", api: Client | None = None
    ) -> Answer:
        path = f"/api/v1/orders/{order_id}/pay"
        return await (api or self.shop.api).call("POST", path, {"method": method}, token=token)

    async def refund(self, order_id: UUID, token: str, api: Client | None = None) -> Answer:
        path = f"/api/v1/orders/{order_id}/refund"
        return await (api or self.shop.api).call("POST", path, token=token)

    async def payment(self, order_id: UUID, token: str) -> Answer:
        return await self.shop.api.call("GET", f"/api/v1/orders/{order_id}/payment", token=token)

    async def status(self, order_id: UUID) -> str:
        return str(await self.db.fetchval("SELECT status FROM orders WHERE id = $1", order_id))

    async def states(self, order_id: UUID) -> list[str]:
        """Of its payments, the earliest first."""
        rows = await self.db.fetch(
            "SELECT state FROM payments WHERE order_id = $1 ORDER BY id", order_id
        )
        return [row["state"] for row in rows]

    async def told(self, order_id: UUID) -> list[Told | None]:
        """What the provider says of its payments."""
        rows = await self.db.fetch(
            "SELECT id FROM payments WHERE order_id = $1 ORDER BY id", order_id
        )
        return [await self.here.payments.look_up(row["id"]) for row in rows]

    async def until_charged(self, order_id: UUID) -> None:
        while await self.told(order_id) != ["approved"]:
            await asyncio.sleep(0.01)

    async def settle(self) -> int:
        """What the jobs do when the time for it has come; answers how many there were."""
        await self.db.execute("UPDATE payments SET next_try_at = now()")
        return await settle_due(self.here.db, self.here.payments, self.here.options.hold_s)

    async def settle_all(self) -> None:
        while await self.settle():
            pass

    async def events(self, kind: str) -> list[Any]:
        rows = await self.db.fetch("SELECT payload FROM outbox WHERE type = $1", kind)
        return [row["payload"] for row in rows]


@contextmanager
def standing_in(port: int | None = None) -> Iterator[str]:
    """Start the stand-in; answers its address."""
    port = port or free_port()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [
            *(sys.executable, "-m", "holdfast.cli.main", "orders", "payment-stand-in"),
            *("--port", str(port)),
        ],
        env=os.environ,
    )
    try:
        _until_live(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _until_live(port: int, process: "subprocess.Popen[bytes]") -> None:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < give_up_at:
        asked = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            asked.request("GET", "/health/live")
            if asked.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            asked.close()
    raise RuntimeError("The stand-in did not start.")
