"""Lists by HTTP. Those that everybody opens are hot: found, chosen and sent without a framework."""

from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Response
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from holdfast.apps.catalog.lists import queries
from holdfast.apps.catalog.lists.rules import Listing, is_known
from holdfast.apps.catalog.lists.schemas import (
    CategoryOut,
    DealsAsked,
    DealsQuery,
    NowOut,
    ProductsAsked,
    ProductsQuery,
    State,
)
from holdfast.apps.catalog.resources import Catalog, Here
from holdfast.core.compression import takes_gzip
from holdfast.core.errors import InvalidError
from holdfast.core.wire import Data, Page, PageOf, PageQuery, TextPosition, next_cursor

LONGEST_QUERY = 2_000
QUERIES_REMEMBERED = 4_000
router = APIRouter(prefix="/api/v1")

Query = TypeVar("Query", bound=PageQuery)


async def list_products(scope: Scope, receive: Receive, send: Send) -> None:
    here: Catalog = scope["app"].state.catalog
    asked = read_products(scope["query_string"])
    await _send(await here.lists.show_products(asked), scope, send)


async def list_deals(scope: Scope, receive: Receive, send: Send) -> None:
    here: Catalog = scope["app"].state.catalog
    asked = read_deals(scope["query_string"], "open")
    await _send(await here.lists.show_deals(asked), scope, send)


async def list_upcoming_deals(scope: Scope, receive: Receive, send: Send) -> None:
    here: Catalog = scope["app"].state.catalog
    asked = read_deals(scope["query_string"], "upcoming")
    await _send(await here.lists.show_deals(asked), scope, send)


hot = {
    ("GET", "/api/v1/products"): list_products,
    ("GET", "/api/v1/products/deals"): list_deals,
    ("GET", "/api/v1/products/deals/upcoming"): list_upcoming_deals,
}


@router.get("/categories")
async def list_categories(here: Here, page: PageOf) -> Page[CategoryOut]:
    rows = await queries.select_categories(
        here.db, after=page.after(TextPosition) or "", most=page.limit
    )
    return Page(
        data=[CategoryOut(**row._asdict()) for row in rows],
        next_cursor=next_cursor(rows, page.limit, lambda row: row.name),
    )


@router.get("/time")
async def show_time(here: Here, response: Response) -> Data[NowOut]:
    """Asked of the database, in one statement for all who ask at this moment."""
    response.headers["Cache-Control"] = "no-store"
    now = await here.clock.ask(None)
    return Data(data=NowOut(now=now.replace(microsecond=now.microsecond // 1000 * 1000)))


@lru_cache(QUERIES_REMEMBERED)
def read_products(query: bytes) -> ProductsAsked:
    return _read(ProductsQuery, query).asked()


@lru_cache(QUERIES_REMEMBERED)
def read_deals(query: bytes, state: State) -> DealsAsked:
    return _read(DealsQuery, query).asked(state)


def _read(kind: type[Query], query: bytes) -> Query:
    """Each parameter once, and none that is not known."""
    if len(query) > LONGEST_QUERY:
        raise InvalidError(("query", f"must not be longer than {LONGEST_QUERY:,} characters"))
    try:
        told = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError:
        raise InvalidError(("query", "must be name=value pairs with & between them")) from None
    values = dict(told)
    if len(values) < len(told):
        raise InvalidError(("query", "must name each parameter once"))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        wrong = [(str(one["loc"][0]), one["msg"]) for one in error.errors()]
        raise InvalidError(*wrong) from None


async def _send(listing: Listing, scope: Scope, send: Send) -> None:
    takes = known = b""
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            takes = value
        elif name == b"if-none-match":
            known = value
    ready = listing.zipped if listing.zipped and takes_gzip(takes) else listing.plain
    if known and is_known(ready.tag, known):
        await send({"type": "http.response.start", "status": 304, "headers": ready.unchanged})
        await send({"type": "http.response.body"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": ready.headers})
        await send({"type": "http.response.body", "body": ready.body})
