"""Orders keep their contract: each operation, asked rightly and wrongly, by a customer and by nobody.

The requests are made by schemathesis from the OpenAPI file alone and sent to a worker process. The
examples that the file shows are real here: there is that offer, Ada has bought one of it, and it is
her turn to buy another.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import BaseSchema, Case, Response
from schemathesis.core.result import Ok

from holdfast.apps.orders.tests.shelf import Shelf
from holdfast.apps.orders.tests.till import standing_in
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import worker

FILE = find("orders").contract


def contract(*, invent_tokens: bool) -> BaseSchema:
    schema = schemathesis.openapi.from_path(FILE)
    schema.config.generation.max_examples = 15
    schema.config.generation.deterministic = True
    schema.config.generation.with_security_parameters = invent_tokens
    # What fits the schema may still not fit what is in the shop; of a 422 see `ask`.
    expected = schema.config.checks.positive_data_acceptance.expected_statuses
    expected += ["402", "409", "410", "422", "425"]
    return schema


CONTRACT = contract(invent_tokens=False)
GUARDED = contract(invent_tokens=True).exclude(
    lambda ctx: ctx.operation.definition.raw.get("security") == []
)
OPERATIONS = {
    found.ok().definition.raw["operationId"]: found.ok()
    for found in CONTRACT.get_all_operations()
    if isinstance(found, Ok)
}
# What may be wrong with data that fits its schema: one offer twice; 1.0, which is an integer there; a
# cursor that no page gave.
BEYOND_SCHEMA = {"items", "cursor"}

ADA = UUID("0199a8f1-4a66-7d02-9c1b-8e35f0b27a11")
OFFER = UUID("0199a8f1-02d7-7e10-8b35-c4d2a9e6f001")
ORDER = UUID("0199a8f2-5b1e-7c3d-9a44-1f0e8b7d6c52")
REQUEST = UUID("0199a8f2-5b1e-7c3d-9a44-1f0e8b7d6c53")
KEY = "3f0c9a4e-6d0e-4d7f-9a39-1d8f3c1f6b1e"
MAKE_EXAMPLES = f"""
TRUNCATE offers, orders, order_items, payments, waiting, order_requests, rooms, room_entries;
INSERT INTO offers
  (id, kind, product_id, name, price_krw, admit_per_s, initial, remaining, held, places)
VALUES ('{OFFER}', 'deal', uuidv7(), 'Blue mug', 12900, 20, 100, 99, 1, 1);
INSERT INTO rooms (offer_id, turns, next_turn_at) VALUES ('{OFFER}', 1, now());
INSERT INTO room_entries (offer_id, customer_id, number, turn_at)
VALUES ('{OFFER}', '{ADA}', 1, now());
INSERT INTO orders (id, customer_id, key, digest, total_krw, placed_at, held_until)
VALUES ('{ORDER}', '{ADA}', '{KEY}', '', 12900, '2027-03-01T09:30Z', now() + interval '1 hour');
INSERT INTO order_items VALUES ('{ORDER}', 0, '{OFFER}', '{ADA}', 1, 1, 12900, 'Blue mug');
INSERT INTO order_requests
  (id, customer_id, key, digest, items, state, order_id, requested_at, decided_at)
VALUES ('{REQUEST}', '{ADA}', '{KEY}', '', '[]', 'placed', '{ORDER}', now(), now())
"""  # noqa: S608 - nothing in it comes from elsewhere
WAIT = f"INSERT INTO waiting (offer_id, customer_id) VALUES ('{OFFER}', '{ADA}')"  # noqa: S608
# What an example needs besides.
MAKE_ROOM: dict[str, Callable[["Served"], object]] = {
    "place_order": lambda served: served.execute("DELETE FROM orders"),
    "refund_order": lambda served: served.pay(),
    "show_payment": lambda served: served.pay(),
    "join_waiting": lambda served: served.sell_out(),
    "show_waiting": lambda served: served.execute(WAIT),
}


@dataclass
class Served:
    """A worker process, the tables and the catalog that it reads, and Ada, who is signed in."""

    url: str
    db: asyncpg.Connection
    loop: asyncio.Runner
    shelf: Shelf
    ada: dict[str, str]
    http: requests.Session = field(default_factory=requests.Session)

    def execute(self, statements: str) -> None:
        self.loop.run(self.db.execute(statements))

    def prepare(self) -> None:
        """As if nobody had asked for anything before."""
        self.shelf.put(100, offer_id=OFFER, price_krw=12_900, admit_per_s=20)
        self.execute(MAKE_EXAMPLES)

    def pay(self) -> None:
        path = f"{self.url}/api/v1/orders/{ORDER}/pay"
        paid = requests.post(path, json={"method": "card-approved"}, headers=self.ada, timeout=10)
        assert paid.status_code == 200

    def sell_out(self) -> None:
        self.shelf.change(OFFER, quantity=1)
        self.execute("UPDATE offers SET initial = 1, remaining = 0")

    def ask(self, case: Case[Any], headers: dict[str, str]) -> Response:
        """Send it, and hold the answer to the contract. Here only who stood still says 503."""
        while (answer := case.call(self.url, self.http, headers)).status_code == 503:
            sleep(0.1)
        kwargs = {"session": self.http, "headers": headers}
        case.validate_response(answer, headers=headers, transport_kwargs=kwargs)
        if answer.status_code == 422 and case.meta and case.meta.generation.mode.is_positive:
            wrong = {error["field"].split("[")[0] for error in answer.json().get("errors", [])}
            assert wrong <= BEYOND_SCHEMA
        return answer


@pytest.fixture(scope="module")
def served(
    postgres_url: str,
    valkey_url: str,
    issuer: Issuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("contract") / "worker.log"
    with ExitStack() as around, asyncio.Runner() as loop:
        shelf = around.enter_context(Shelf.standing())
        environ = {
            "DATABASE_URL": postgres_url.removesuffix("postgres") + "orders_contract",
            "REDIS_URL": valkey_url,
            "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
            "HOLDFAST_ORIGIN": issuer.url,
            "HOLDFAST_LIMITS": "off",
            "HOLDFAST_ORDERS_CATALOG_URL": shelf.url,
            "HOLDFAST_ORDERS_PAYMENT_URL": around.enter_context(standing_in()),
        }
        stack = AsyncExitStack()
        url, db = loop.run(start(stack, postgres_url, environ, log))
        ada = {"Authorization": f"Bearer {issuer.token(ADA, 'orders:read', lives_s=3600)}"}
        yield Served(url, db, loop, shelf, ada)
        loop.run(stack.aclose())
    assert "ERROR" not in log.read_text()


async def start(
    stack: AsyncExitStack, postgres_url: str, environ: dict[str, str], log: Path
) -> tuple[str, asyncpg.Connection]:
    server = await asyncpg.connect(postgres_url)
    await server.execute("CREATE DATABASE orders_contract")
    await server.close()
    await migrate(environ["DATABASE_URL"], find("orders"))
    db = await asyncpg.connect(environ["DATABASE_URL"], server_settings={"search_path": "orders"})
    stack.push_async_callback(db.close)
    stderr = stack.enter_context(log.open("wb"))
    url, _ = await stack.enter_async_context(worker("orders", environ, stderr=stderr))
    return url, db


@CONTRACT.parametrize()
def test_a_customer_is_answered_as_the_contract_says(case: Case[Any], served: Served) -> None:
    served.prepare()
    served.ask(case, served.ada)


@GUARDED.parametrize()
def test_nobody_gets_in(case: Case[Any], served: Served) -> None:
    answer = served.ask(case, {})
    assert answer.status_code in {401, 405}  # or the method is not there


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_example_in_the_contract_succeeds(served: Served, name: str) -> None:
    operation = OPERATIONS[name]
    examples: Any = operation.get_strategies_from_examples() or [st.just(operation.Case())]

    @settings(max_examples=1, derandomize=True, deadline=None, database=None)
    @given(examples[0])
    def ask(case: Case[Any]) -> None:
        served.prepare()
        if name in MAKE_ROOM:
            MAKE_ROOM[name](served)
        case.query.pop("cursor", None)
        assert served.ask(case, served.ada).status_code < 300

    ask()
