"""The catalog keeps its contract: each operation, asked rightly and wrongly, by an editor and by nobody.

The requests are made by schemathesis from the OpenAPI file alone and sent to a worker process. The
examples that the file shows are real here: there is that mug, and a deal of it.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import BaseSchema, Case, Response
from schemathesis.core.result import Ok

from holdfast.apps.catalog.guard import WRITE
from holdfast.apps.catalog.tests.desk import moment
from holdfast.core.manifest import find
from holdfast.core.migrate import migrate
from holdfast.core.tests.issuer import Issuer
from holdfast.core.tests.serving import worker

FILE = find("catalog").contract


def contract(*, invent_tokens: bool) -> BaseSchema:
    schema = schemathesis.openapi.from_path(FILE)
    schema.config.generation.max_examples = 15
    schema.config.generation.deterministic = True
    schema.config.generation.with_security_parameters = invent_tokens
    schema.config.checks.positive_data_acceptance.expected_statuses += ["422"]  # see `ask`
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

# What may be wrong with data that fits its schema: no schema has a calendar, or compares fields.
BEYOND_SCHEMA = {"opens_at", "closes_at", "cursor", "page", "price_from", "price_to", "sort"}

MUG = "0199a8f0-3c11-7d20-9a6e-5b1f0c7d8e90"
DEAL = "0199a8f1-02d7-7e10-8b35-c4d2a9e6f001"
MAKE_EXAMPLES = f"""
    INSERT INTO products (id, name, category, price_krw, stock)
    VALUES ('{MUG}', 'Blue mug', 'kitchen', 12900, 500)
    ON CONFLICT (id) DO UPDATE SET stock = excluded.stock;
    DELETE FROM deals WHERE product_id = '{MUG}';
    INSERT INTO deals (id, product_id, price_krw, opens_at, closes_at, quota)
    VALUES ('{DEAL}', '{MUG}', 9900, now() - interval '1 min', now() + interval '1 h', 100);
    INSERT INTO availability VALUES ('{DEAL}', 90, 4, 6, 10) ON CONFLICT DO NOTHING"""  # noqa: S608 - nothing in it comes from elsewhere
MAKE_ROOM = {"remove_product": "DELETE FROM deals"}
# What no file can show: parameters that fit together.
FITTING_QUERY = {"list_products": {"sort": "price", "category": "kitchen", "price_to": 20_000}}


@dataclass
class Served:
    """A worker process, its database and its log, and an editor."""

    url: str
    db: asyncpg.Connection
    loop: asyncio.Runner
    editor: dict[str, str]
    http: requests.Session = field(default_factory=requests.Session)

    def prepare(self, more: str = "SELECT") -> None:
        """Undo what the request before may have done to the examples."""
        self.loop.run(self.db.execute(MAKE_EXAMPLES))
        self.loop.run(self.db.execute(more))

    def ask(self, case: Case[Any], headers: dict[str, str]) -> Response:
        """Send it, and hold the answer to the contract. Here only who stood still says 503."""
        while (answer := case.call(self.url, self.http, headers)).status_code == 503:
            sleep(0.1)
        kwargs = {"session": self.http, "headers": headers}
        case.validate_response(answer, headers=headers, transport_kwargs=kwargs)
        if answer.status_code == 422 and case.meta and case.meta.generation.mode.is_positive:
            assert {error["field"] for error in answer.json()["errors"]} <= BEYOND_SCHEMA
        return answer


@pytest.fixture(scope="module")
def served(
    postgres_url: str, valkey_url: str, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("contract") / "worker.log"

    async def start(stack: AsyncExitStack) -> tuple[str, asyncpg.Connection]:
        server = await asyncpg.connect(postgres_url)
        await server.execute("CREATE DATABASE catalog_contract")
        await server.close()
        database_url = postgres_url.removesuffix("postgres") + "catalog_contract"
        await migrate(database_url, find("catalog"))
        db = await asyncpg.connect(database_url, server_settings={"search_path": "catalog"})
        stack.push_async_callback(db.close)
        environ = {
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey_url,
            "HOLDFAST_SECRET": "a secret that only the tests know, and long enough",
            "HOLDFAST_ORIGIN": issuer.url,
            "HOLDFAST_LIMITS": "off",
            "HOLDFAST_DB_POOL_MIN": "1",
        }
        stderr = stack.enter_context(log.open("wb"))
        url, _ = await stack.enter_async_context(worker("catalog", environ, stderr))
        return url, db

    with asyncio.Runner() as loop:
        stack = AsyncExitStack()
        url, db = loop.run(start(stack))
        token = issuer.token(None, WRITE, lives_s=3600)
        yield Served(url, db, loop, {"Authorization": f"Bearer {token}"})
        loop.run(stack.aclose())
    assert "ERROR" not in log.read_text()


@CONTRACT.parametrize()
def test_an_editor_is_answered_as_the_contract_says(case: Case[Any], served: Served) -> None:
    served.prepare()
    served.ask(case, served.editor)


@GUARDED.parametrize()
def test_nobody_gets_in(case: Case[Any], served: Served) -> None:
    answer = served.ask(case, {})
    no_such_address = {400, 404, 405}  # or no JSON
    assert answer.status_code in {401, *no_such_address}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_example_in_the_contract_succeeds(served: Served, name: str) -> None:
    operation = OPERATIONS[name]
    examples: Any = operation.get_strategies_from_examples() or [st.just(operation.Case())]

    @settings(max_examples=1, derandomize=True, deadline=None, database=None)
    @given(examples[0])
    def ask(case: Case[Any]) -> None:
        served.prepare(MAKE_ROOM.get(name, "SELECT"))
        case.query = FITTING_QUERY.get(name, case.query)
        case.query.pop("cursor", None)
        if name in {"create_deal", "change_deal"}:
            assert isinstance(case.body, dict)
            case.body = {**case.body, "opens_at": moment(600), "closes_at": moment(1200)}
        assert served.ask(case, served.editor).status_code < 300

    ask()


PRODUCTS = "/api/v1/products"
JSON = "application/json"
FITS = b'{"name": "Odd mug", "category": "kitchen", "price_krw": 12900, "stock": 5}'
BODIES = {
    "not UTF-8": (400, JSON, b"\xff\xfe\xfd"),
    "deep": (400, JSON, b"[" * 60_000),
    "deep objects": (400, JSON, b'{"name":' * 8_000),
    "a number too long to read": (400, JSON, FITS.replace(b"12900", b"9" * 5_000)),
    "a huge number": (422, JSON, FITS.replace(b"12900", b"9" * 4_000)),
    "a huge exponent": (422, JSON, FITS.replace(b"12900", b"1e999999")),
    "not a number": (422, JSON, FITS.replace(b"12900", b"NaN")),
    "too large": (413, JSON, FITS.ljust(64 * 1024 + 1)),
    "a lone surrogate": (422, JSON, FITS.replace(b"Odd", b"\\ud800")),
    "NUL": (422, JSON, FITS.replace(b"Odd", b"\\u0000")),
    "no object": (422, JSON, b"[]"),
    "nothing": (422, JSON, b""),
    "text": (422, "text/plain", FITS),
    "a name twice": (201, JSON, FITS.replace(b"{", b'{"stock": -1, ', 1)),
    "a character set": (201, "application/json; charset=utf-8", FITS),
}


@pytest.mark.parametrize("odd", BODIES)
def test_an_odd_body_is_no_fault_of_ours(served: Served, odd: str) -> None:
    status, kind, body = BODIES[odd]
    headers = served.editor | {"Content-Type": kind}
    _check(served.http.post(served.url + PRODUCTS, data=body, headers=headers), status)


def test_ten_megabytes_are_refused_before_they_are_sent(served: Served) -> None:
    connection = HTTPConnection(urlsplit(served.url).netloc, timeout=30)
    connection.putrequest("POST", PRODUCTS)
    for name, value in (served.editor | {"Content-Length": "10000000"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def cursor(position: Any) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(position)).decode().rstrip("=")


ADDRESSES = {
    "an unknown parameter": (422, "GET", f"{PRODUCTS}?nothing=1"),
    "a huge limit": (422, "GET", f"{PRODUCTS}?limit=" + "9" * 5_000),
    "a huge page": (422, "GET", f"{PRODUCTS}?page=" + "9" * 30),
    "a negative price": (422, "GET", f"{PRODUCTS}?price_from=-1"),
    "a category of NUL": (422, "GET", f"{PRODUCTS}?category=%00"),
    "a category not UTF-8": (422, "GET", f"{PRODUCTS}?category=%ff"),
    "another list's cursor": (422, "GET", f"{PRODUCTS}/deals?cursor={cursor('x')}"),
    "no cursor at all": (422, "GET", f"{PRODUCTS}/deals/upcoming?cursor=x"),
    "a cursor of NUL": (422, "GET", f"/api/v1/categories?cursor={cursor(chr(0))}"),
    "an offer of NUL": (422, "GET", "/api/v1/offers?id=%00"),
    "NUL": (404, "GET", f"{PRODUCTS}/%00"),
    "not UTF-8": (404, "PATCH", f"{PRODUCTS}/%ff"),
    "an encoded slash": (404, "GET", f"{PRODUCTS}/{MUG[:8]}%2F{MUG[8:]}"),
    "a trailing slash": (404, "GET", f"{PRODUCTS}/{MUG}/"),
    "two slashes": (404, "GET", f"{PRODUCTS}//{MUG}"),
    "HEAD": (405, "HEAD", f"{PRODUCTS}/{MUG}"),
    "OPTIONS": (405, "OPTIONS", f"{PRODUCTS}/{MUG}"),
    "TRACE": (405, "TRACE", f"{PRODUCTS}/{MUG}"),
}


@pytest.mark.parametrize("odd", ADDRESSES)
def test_an_odd_address_is_no_fault_of_ours(served: Served, odd: str) -> None:
    status, method, path = ADDRESSES[odd]
    served.prepare()
    answer = served.http.request(
        method, served.url + path, headers=served.editor, allow_redirects=False
    )
    _check(answer, status)
    if status == 405:
        assert answer.headers["Allow"] == "GET, PATCH, DELETE"


def _check(answer: requests.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    kind = "application/json" if answer.ok else "application/problem+json"
    assert answer.headers["Content-Type"] == kind
