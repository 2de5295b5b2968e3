"""Who gets one, of all who ask at the same moment: those who came first, as long as there are any.

Decided under the offers' locks, from what they hold at that moment; the same decisions whether the
orders come one by one or five hundred at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from holdfast.apps.orders.offers.schemas import OverError, UnknownOfferError
from holdfast.apps.orders.placing.schemas import (
    Asked,
    Item,
    KeyReusedError,
    LimitReachedError,
    SoldOutError,
    TooEarlyError,
)
from holdfast.apps.orders.room.schemas import NotAdmittedError
from holdfast.core.errors import ProblemError


@dataclass(slots=True)
class Stock:
    """An offer under its lock; it changes as customers are let in."""

    state: str  # early, open or over, by the database's clock
    price_krw: int
    per_customer: int | None
    remaining: int
    places: int
    units: dict[UUID, int] = field(default_factory=dict)  # that a customer has
    admitted: set[UUID] | None = None  # whose turn it is; None: there is no waiting room


class Known(NamedTuple):
    """The order that a customer's key belongs to already."""

    order_id: UUID
    digest: bytes


class Won(NamedTuple):
    places: tuple[int, ...]  # one for each item
    total_krw: int


class Again(NamedTuple):
    """Asked before, and granted then."""

    order_id: UUID


class Same(NamedTuple):
    """Asked twice at this moment: the one that was granted first is the answer to both."""

    n: int


Decision = Won | Again | Same | ProblemError


def decide(
    asked: Sequence[Asked], stocks: Mapping[UUID, Stock], known: Mapping[int, Known]
) -> list[Decision]:
    """In the order of arrival. `known` is by position in `asked`."""
    granted: dict[tuple[UUID, str], int] = {}
    decisions: list[Decision] = []
    for n, order in enumerate(asked):
        name = (order.customer_id, order.key)
        if n in known:
            same = known[n].digest == order.digest
            decisions.append(Again(known[n].order_id) if same else KeyReusedError())
        elif name in granted:
            same = asked[granted[name]].digest == order.digest
            decisions.append(Same(granted[name]) if same else KeyReusedError())
        elif refusal := _refusal(order, stocks):
            decisions.append(refusal)
        else:
            granted[name] = n
            decisions.append(_take(order, stocks))
    return decisions


def _refusal(order: Asked, stocks: Mapping[UUID, Stock]) -> ProblemError | None:
    for item in order.items:
        stock = stocks.get(item.offer_id)
        if stock is None:
            return UnknownOfferError()
        if problem := _objection(item, stock, order.customer_id):
            return problem
    return None


def _objection(item: Item, stock: Stock, customer_id: UUID) -> ProblemError | None:
    if stock.state == "early":
        return TooEarlyError()
    if stock.state == "over":
        return OverError()
    if stock.admitted is not None and customer_id not in stock.admitted:
        return NotAdmittedError()
    units = stock.units.get(customer_id, 0) + item.quantity
    if stock.per_customer is not None and units > stock.per_customer:
        return LimitReachedError()
    return SoldOutError() if item.quantity > stock.remaining else None


def _take(order: Asked, stocks: Mapping[UUID, Stock]) -> Won:
    places = []
    total_krw = 0
    for offer_id, quantity in order.items:
        stock = stocks[offer_id]
        stock.remaining -= quantity
        stock.places += 1
        if stock.admitted is not None:
            stock.admitted.remove(order.customer_id)  # a turn is good for one order
        stock.units[order.customer_id] = stock.units.get(order.customer_id, 0) + quantity
        places.append(stock.places)
        total_krw += quantity * stock.price_krw
    return Won(tuple(places), total_krw)
