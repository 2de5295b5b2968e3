"""Who gets one, for any crowd and any stock: told by a second, slower way of counting."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.orders.offers.schemas import OverError, UnknownOfferError
from holdfast.apps.orders.placing.rules import (
    Again,
    Decision,
    Known,
    Same,
    Stock,
    Won,
    decide,
)
from holdfast.apps.orders.placing.schemas import (
    Asked,
    Item,
    KeyReusedError,
    LimitReachedError,
    SoldOutError,
    TooEarlyError,
)
from holdfast.apps.orders.room.schemas import NotAdmittedError

OFFERS = [UUID(int=n) for n in range(1, 3)]
UNKNOWN = UUID(int=99)
CUSTOMERS = [UUID(int=n) for n in range(101, 103)]
KEYS = [str(n) for n in range(8)]

Stocks = dict[UUID, Stock]
Keys = dict[tuple[UUID, str], Known]


def asked(customer: UUID, key: str, basket: Mapping[UUID, int]) -> Asked:
    items = tuple(Item(*item) for item in sorted(basket.items()))
    return Asked(customer, key, repr(items).encode(), items)


units = st.integers(1, 3)
orders = st.builds(
    asked,
    st.sampled_from(CUSTOMERS),
    st.sampled_from(KEYS),
    st.dictionaries(st.sampled_from([*OFFERS * 3, UNKNOWN]), units, min_size=1, max_size=2),
)
crowds = st.lists(orders, max_size=2) | st.lists(orders, min_size=8, max_size=16)
shelves = st.fixed_dictionaries(
    {
        offer_id: st.builds(
            Stock,
            state=st.sampled_from(["open"] * 6 + ["early", "over"]),
            price_krw=st.integers(0, 10),
            per_customer=st.none() | st.integers(1, 6),
            remaining=st.integers(0, 12),
            places=st.integers(0, 5),
            units=st.dictionaries(st.sampled_from(CUSTOMERS), units, max_size=1),
            admitted=st.none() | st.sets(st.sampled_from(CUSTOMERS)),
        )
        for offer_id in OFFERS
    }
)
granted_before = st.lists(orders, max_size=3).map(
    lambda past: {
        (order.customer_id, order.key): Known(UUID(int=1000 + n), order.digest)
        for n, order in enumerate(past)
    }
)


def known_in(crowd: Sequence[Asked], keys: Keys) -> dict[int, Known]:
    return {
        n: keys[order.customer_id, order.key]
        for n, order in enumerate(crowd)
        if (order.customer_id, order.key) in keys
    }


@given(crowds, shelves, granted_before)
def test_everybody_gets_what_is_theirs_at_their_turn(
    crowd: list[Asked], stocks: Stocks, keys: Keys
) -> None:
    before = deepcopy(stocks)
    decisions = decide(crowd, stocks, known_in(crowd, keys))
    left = Counter({offer_id: stock.remaining for offer_id, stock in before.items()})
    place = Counter({offer_id: stock.places for offer_id, stock in before.items()})
    has = Counter({(o, c): n for o, stock in before.items() for c, n in stock.units.items()})
    granted = {name: known.digest for name, known in keys.items()}
    turns = {(o, c) for o, stock in before.items() for c in stock.admitted or ()}
    for order, decision in zip(crowd, decisions, strict=True):
        name = (order.customer_id, order.key)
        if name in granted:
            same = granted[name] == order.digest
            assert isinstance(decision, Again | Same if same else KeyReusedError)
        elif against := set(objections(order, before, left, has, turns)):
            assert type(decision) in against
        else:
            assert isinstance(decision, Won)
            assert len(decision.places) == len(order.items)
            for item, given_place in zip(order.items, decision.places, strict=True):
                left[item.offer_id] -= item.quantity
                has[item.offer_id, order.customer_id] += item.quantity
                turns.discard((item.offer_id, order.customer_id))
                place[item.offer_id] += 1
                assert given_place == place[item.offer_id]
            prices = [before[item.offer_id].price_krw * item.quantity for item in order.items]
            assert decision.total_krw == sum(prices)
            granted[name] = order.digest
    assert min(left.values()) >= 0
    for offer_id, stock in stocks.items():
        assert (stock.remaining, stock.places) == (left[offer_id], place[offer_id])


def objections(
    order: Asked,
    stocks: Stocks,
    left: Counter[UUID],
    has: Counter[tuple[UUID, UUID]],
    turns: Collection[tuple[UUID, UUID]],
) -> Iterator[type]:
    """Everything that stands against an order at its turn."""
    for offer_id, quantity in order.items:
        if offer_id not in stocks:
            yield UnknownOfferError
            continue
        stock = stocks[offer_id]
        if stock.state != "open":
            yield {"early": TooEarlyError, "over": OverError}[stock.state]
        if stock.admitted is not None and (offer_id, order.customer_id) not in turns:
            yield NotAdmittedError
        limit = stock.per_customer
        if limit is not None and has[offer_id, order.customer_id] + quantity > limit:
            yield LimitReachedError
        if quantity > left[offer_id]:
            yield SoldOutError


@given(crowds, shelves, granted_before)
def test_a_crowd_at_once_is_decided_as_one_after_the_other(
    crowd: list[Asked], stocks: Stocks, keys: Keys
) -> None:
    apart = deepcopy(stocks)
    at_once = decide(crowd, stocks, known_in(crowd, keys))
    one_by_one: list[Decision] = []
    for n, order in enumerate(crowd):
        (decision,) = decide([order], apart, known_in([order], keys))
        one_by_one.append(decision)
        if isinstance(decision, Won):
            keys[order.customer_id, order.key] = Known(UUID(int=n), order.digest)
    assert list(map(plain, at_once)) == list(map(plain, one_by_one))
    assert stocks == apart


def plain(decision: Decision) -> object:
    """What can be compared; an order of this crowd is known by its position."""
    match decision:
        case Won() | Again():
            return tuple(decision)
        case Same(n):
            return tuple(Again(UUID(int=n)))
    return type(decision)
