"""A sale for benchmarks: customers with tokens, offers with stock, and requests ready to be sent."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from redis.asyncio import Redis

from lab.identity.people import people
from lab.load import post
from lab.machine import CORES
from lab.result import Lab
from lab.servers import HOST, worker

ORDERS = "/api/v1/orders"
# The stock of those who do not merge (`lab.deals.ways`).
TABLES_OF_OTHERS = """
CREATE TABLE lab_stock (
  offer_id uuid PRIMARY KEY, remaining bigint NOT NULL, places bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE lab_slots (
  offer_id uuid NOT NULL, place bigint NOT NULL, taken boolean NOT NULL DEFAULT false,
  PRIMARY KEY (offer_id, place)
);
CREATE INDEX lab_slots_free ON lab_slots (offer_id, place) WHERE NOT taken;
CREATE SEQUENCE lab_places;
GRANT ALL ON lab_stock, lab_slots, lab_places TO holdfast_orders
"""
MAKE_OFFER = """
INSERT INTO offers (id, kind, product_id, name, price_krw, initial, remaining, per_customer)
VALUES ($1, 'deal', uuidv7(), 'Blue mug', 1000, $2, $2, $3)
"""


@contextmanager
def customers(lab: Lab, number: int) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The environment of orders' workers beside a real identity, and so many people's tokens."""
    with lab.stack.database("identity", "orders") as environ, lab.stack.spread():
        lab.say(f"making {number} customers")
        tokens = [person.access for person in people(environ, number)]
        prepare(environ)
        with worker(environ, CORES) as identity:
            yield {**environ, "HOLDFAST_IDENTITY_URL": f"http://{HOST}:{identity.port}"}, tokens


def prepare(environ: Mapping[str, str]) -> None:
    asyncio.run(_run(environ, TABLES_OF_OTHERS))


def make_offer(environ: Mapping[str, str], stock: int, *, per_customer: int | None = None) -> UUID:
    """An offer that has so many for all who sell it, each in their own way."""
    offer_id = uuid4()

    async def make() -> None:
        await _run(environ, MAKE_OFFER, offer_id, stock, per_customer)
        await _run(environ, "INSERT INTO lab_stock VALUES ($1, $2)", offer_id, stock)
        await _run(
            environ,
            "INSERT INTO lab_slots SELECT $1, generate_series(1, $2::bigint)",
            offer_id,
            min(stock, 60_000),
        )
        await _run(environ, "ANALYZE")
        async with Redis.from_url(environ["REDIS_URL"]) as redis:
            await redis.set(f"lab:{offer_id}", stock)

    asyncio.run(make())
    return offer_id


def sold(environ: Mapping[str, str], offer_id: UUID) -> int:
    """How many orders there are for it, whatever anybody was told."""

    async def count() -> int:
        connection = await _connect(environ)
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(*) FROM order_items WHERE offer_id = $1", offer_id
                )
            )
        finally:
            await connection.close()

    return asyncio.run(count())


def orders(tokens: list[str], offer_id: UUID, each: int, path: str = ORDERS) -> list[list[bytes]]:
    """A list of orders for each customer, every one under a key of its own."""
    body = msgspec.json.encode({"items": [{"offer_id": offer_id, "quantity": 1}]})
    return [
        [post(path, body, token, f"Idempotency-Key: {uuid4()}") for _ in range(each)]
        for token in tokens
    ]


async def _connect(environ: Mapping[str, str]) -> Any:
    return await asyncpg.connect(environ["DATABASE_URL"], server_settings={"search_path": "orders"})


async def _run(environ: Mapping[str, str], statement: str, *args: object) -> None:
    connection = await _connect(environ)
    try:
        await connection.execute(statement, *args)
    finally:
        await connection.close()
