"""The lives of orders, whatever happens to them: beside a plain model, step by step, and both agree.

The model says what should be so in the fewest words: who has which places, who waits, and that what
is left is what nobody has. What runs beside it is the real thing, on PostgreSQL, with a catalog and a
payment provider that are asked over HTTP.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import Phase
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast.apps.orders.life.actions import cancel_order, expire_orders
from holdfast.apps.orders.life.schemas import EndedAlreadyError, PaidAlreadyError
from holdfast.apps.orders.offers.actions import confirm_offers
from holdfast.apps.orders.options import Options
from holdfast.apps.orders.payments.actions import pay_order, refund_order
from holdfast.apps.orders.payments.jobs import settle_due
from holdfast.apps.orders.payments.schemas import DeclinedError, NotPaidError, OrderEndedError
from holdfast.apps.orders.placing.actions import place_orders
from holdfast.apps.orders.placing.schemas import (
    Asked,
    Item,
    KeyReusedError,
    LimitReachedError,
    SoldOutError,
)
from holdfast.apps.orders.records.schemas import OrderOut
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.tests.shelf import Shelf
from holdfast.apps.orders.tests.till import standing_in
from holdfast.apps.orders.waiting.actions import join_waiting, leave_waiting, show_places
from holdfast.apps.orders.waiting.schemas import NotSoldOutError, PlaceOut, Wish
from holdfast.core.errors import ProblemError
from holdfast.core.settings import Settings

Told = TypeVar("Told")

CUSTOMERS = [uuid4() for _ in range(4)]
STOCK = 2
LIMITS = [2, None]  # of the two offers that there are
WHO = st.sampled_from(CUSTOMERS)
WHICH = st.integers(0, 50)  # of the orders; counted round
OFFER = st.integers(0, 1)


@dataclass
class Order:
    customer: UUID
    units: Mapping[UUID, int]
    places: Mapping[UUID, int]
    key: str | None = None  # None: it came from the line
    status: str = "reserved"
    charged: bool = False  # but that answer was lost


@dataclass
class Offer:
    initial: int
    limit: int | None
    places: int = 0
    line: list[UUID] = field(default_factory=list)


@dataclass
class Model:
    offers: dict[UUID, Offer]
    orders: list[Order] = field(default_factory=list)

    def units(self, offer: UUID, *statuses: str, of: UUID | None = None) -> int:
        return sum(
            order.units.get(offer, 0)
            for order in self.orders
            if order.status in statuses and of in {None, order.customer}
        )

    def left(self, offer: UUID) -> int:
        return self.offers[offer].initial - self.units(offer, "reserved", "paid")

    def objection(self, customer: UUID, offer: UUID, units: int) -> type[ProblemError] | None:
        limit = self.offers[offer].limit
        if limit and self.units(offer, "reserved", "paid", of=customer) + units > limit:
            return LimitReachedError
        return SoldOutError if units > self.left(offer) else None

    def place(self, customer: UUID, units: Mapping[UUID, int], key: str | None) -> Order:
        for offer in units:
            self.offers[offer].places += 1
        places = {offer: self.offers[offer].places for offer in units}
        self.orders.append(Order(customer, units, places, key))
        return self.orders[-1]

    def serve(self) -> None:
        for offer, terms in self.offers.items():
            while terms.line and self.left(offer):
                first = terms.line.pop(0)
                if not self.objection(first, offer, 1):
                    self.place(first, {offer: 1}, None)


class Life(RuleBasedStateMachine):
    loop: ClassVar[asyncio.Runner]
    here: ClassVar[Orders]
    shelf: ClassVar[Shelf]
    owner: ClassVar[asyncpg.Connection]

    def __init__(self) -> None:
        super().__init__()
        self.do(
            self.owner.execute(
                "TRUNCATE offers, rooms, orders, order_items, payments, waiting, outbox"
            )
        )
        self.ids = [self.shelf.put(STOCK, per_customer=limit) for limit in LIMITS]
        self.do(confirm_offers(self.here, self.ids))
        terms = [Offer(STOCK, limit) for limit in LIMITS]
        self.model = Model(dict(zip(self.ids, terms, strict=True)))

    def do(self, work: Coroutine[Any, Any, Told]) -> Told:
        return self.loop.run(work)

    def refused(self, work: Coroutine[Any, Any, Any], *errors: type[ProblemError]) -> None:
        with pytest.raises(errors):
            self.do(work)

    def pick(self, which: int) -> tuple[Order, UUID]:
        """One of the orders, and its id."""
        order = self.model.orders[which % len(self.model.orders)]
        offer, place = next(iter(order.places.items()))
        found = self.owner.fetchval(
            "SELECT order_id FROM order_items WHERE offer_id = $1 AND place = $2", offer, place
        )
        return order, self.do(found)

    def ask(self, customer: UUID, key: str, units: Mapping[UUID, int]) -> Any:
        items = tuple(Item(offer, units[offer]) for offer in sorted(units))
        asked = Asked(customer, key, repr(items).encode(), items)
        [answer] = self.do(place_orders(self.here, [asked]))
        return answer

    @initialize()
    def open_the_sale(self) -> None:
        """Everybody wants one of each. Two have them, and the others wait."""
        for who in CUSTOMERS:
            self.place(who, {0: 1, 1: 1})
        for who in CUSTOMERS[STOCK:]:
            self.join(who, 0)
            self.join(who, 1)

    @rule(who=WHO, wanted=st.dictionaries(OFFER, st.integers(1, 3), min_size=1))
    def place(self, who: UUID, wanted: dict[int, int]) -> None:
        units = {self.ids[n]: wanted[n] for n in wanted}
        key = f"order-{len(self.model.orders)}"
        answer = self.ask(who, key, units)
        objections = [self.model.objection(who, offer, units[offer]) for offer in sorted(units)]
        expected = next(filter(None, objections), None)
        if expected:
            assert type(answer) is expected
        else:
            assert isinstance(answer, OrderOut)
            order = self.model.place(who, units, key)
            assert {item.offer_id: item.place for item in answer.items} == order.places

    @rule(which=WHICH)
    def ask_again(self, which: int) -> None:
        order, order_id = self.pick(which)
        if order.key:
            again = self.ask(order.customer, order.key, order.units)
            assert (again.id, again.status) == (order_id, order.status)
            other = {offer: units + 1 for offer, units in order.units.items()}
            assert isinstance(self.ask(order.customer, order.key, other), KeyReusedError)

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        order, order_id = self.pick(which)
        work = cancel_order(self.here, order_id, order.customer)
        if order.status in {"reserved", "cancelled"}:
            assert self.do(work).status == "cancelled"
            self.end(order, "cancelled")
        else:
            self.refused(work, PaidAlreadyError, EndedAlreadyError)

    @rule(which=st.sets(WHICH, min_size=1, max_size=3))
    def expire(self, which: set[int]) -> None:
        picked = [self.pick(n) for n in which]
        overdue = "UPDATE orders SET held_until = now() WHERE id = ANY($1)"
        self.do(self.owner.execute(overdue, [order_id for _, order_id in picked]))
        self.do(expire_orders(self.here.db, self.here.options.hold_s))
        expiring = [order for order, _ in picked if order.status == "reserved"]
        self.end_all(expiring, "expired")

    @rule(which=WHICH, card=st.sampled_from(["approved", "approved", "lost-answer", "declined"]))
    def pay(self, which: int, card: str) -> None:
        order, order_id = self.pick(which)
        work = pay_order(self.here, order.customer, order_id, f"card-{card}")
        if order.status not in {"reserved", "paid"}:
            return self.refused(work, OrderEndedError)
        if order.status == "reserved" and not order.charged:
            if card == "declined":
                return self.refused(work, DeclinedError)
            order.status = "paid" if card == "approved" else "reserved"
            order.charged = card == "lost-answer"
        assert self.do(work).status == order.status
        return None

    @precondition(lambda self: any(order.charged for order in self.model.orders))
    @rule(which=WHICH)
    def find_out_that_it_was_paid(self, which: int) -> None:
        """However late: the order is paid after all, or the money goes back."""
        charged = [n for n, order in enumerate(self.model.orders) if order.charged]
        order, order_id = self.pick(charged[which % len(charged)])
        due = "UPDATE payments SET next_try_at = now() WHERE order_id = $1"
        self.do(self.owner.execute(due, order_id))
        while self.do(settle_due(self.here.db, self.here.payments, self.here.options.hold_s)):
            pass
        order.charged = False
        fits = not any(
            self.model.objection(order.customer, offer, units)
            for offer, units in order.units.items()
        )
        if order.status == "reserved" or (order.status == "expired" and fits):
            order.status = "paid"

    @rule(which=WHICH)
    def refund(self, which: int) -> None:
        order, order_id = self.pick(which)
        work = refund_order(self.here, order.customer, order_id)
        if order.status in {"paid", "refunded"}:
            assert self.do(work).status == "refunded"
            self.end(order, "refunded")
        else:
            self.refused(work, NotPaidError)

    @rule(who=WHO, n=OFFER)
    def join(self, who: UUID, n: int) -> None:
        offer = self.ids[n]
        line = self.model.offers[offer].line
        [answer] = self.do(join_waiting(self.here, [Wish(offer, who)]))
        objection = self.model.objection(who, offer, 1)
        if who not in line and objection is not SoldOutError:
            assert type(answer) is (objection or NotSoldOutError)
            return
        if who not in line:
            line.append(who)
        assert answer == PlaceOut(line.index(who) + 1, len(line))

    @precondition(lambda self: any(offer.line for offer in self.model.offers.values()))
    @rule(who=WHO, n=OFFER)
    def leave(self, who: UUID, n: int) -> None:
        wish = Wish(self.ids[n], who)
        self.do(leave_waiting(self.here, wish))
        assert self.do(show_places(self.here, [wish])) == [None]
        line = self.model.offers[wish.offer_id].line
        line[:] = [other for other in line if other != who]

    @rule(n=OFFER, quantity=st.integers(0, 6))
    def change_quota(self, n: int, quantity: int) -> None:
        offer = self.ids[n]
        self.shelf.put(quantity, per_customer=LIMITS[n], offer_id=offer)
        self.do(confirm_offers(self.here, [offer]))
        taken = self.model.units(offer, "reserved", "paid")
        self.model.offers[offer].initial = max(quantity, taken)
        self.model.serve()

    def end(self, order: Order, became: str) -> None:
        self.end_all([order], became)

    def end_all(self, orders: list[Order], became: str) -> None:
        for order in orders:
            order.status = became
        self.model.serve()

    @invariant()
    def the_ledger_adds_up(self) -> None:
        units = "SELECT sum(quantity) FROM order_items JOIN orders ON orders.id = order_id"
        rows = self.do(
            self.owner.fetch(
                f"""SELECT *,
                      coalesce(({units} WHERE offer_id = offers.id AND status = 'reserved'), 0)
                        AS reserved,
                      coalesce(({units} WHERE offer_id = offers.id AND status = 'paid'), 0) AS paid,
                      ARRAY(SELECT place FROM order_items WHERE offer_id = offers.id ORDER BY place)
                        AS given,
                      ARRAY(SELECT customer_id FROM waiting WHERE offer_id = offers.id
                            ORDER BY number) AS line
                    FROM offers"""  # noqa: S608 - nothing from outside is in it
            )
        )
        for row in rows:
            assert row["initial"] == row["remaining"] + row["held"] + row["sold"]
            assert (row["held"], row["sold"]) == (row["reserved"], row["paid"])
            assert row["given"] == list(range(1, row["places"] + 1))
            assert not (row["remaining"] and row["line"])
            terms = self.model.offers[row["id"]]
            assert (row["initial"], row["places"], row["line"]) == (
                *(terms.initial, terms.places),
                terms.line,
            )

    @invariant()
    def orders_are_those_of_the_model(self) -> None:
        rows = self.do(
            self.owner.fetch(
                """SELECT orders.customer_id, status, offer_id, place, quantity
                   FROM orders JOIN order_items ON order_id = orders.id"""
            )
        )
        assert Counter(map(tuple, rows)) == Counter(
            (order.customer, order.status, offer, place, order.units[offer])
            for order in self.model.orders
            for offer, place in order.places.items()
        )

    @invariant()
    def nobody_has_more_than_one_may(self) -> None:
        over = self.owner.fetchval(
            """SELECT count(*) FROM possessions JOIN offers ON offers.id = offer_id
               WHERE units > per_customer"""
        )
        assert self.do(over) == 0


@pytest.fixture
def life(database_url: str, settings: Settings) -> Iterator[type[Life]]:
    """With everything that orders stand on, open from the first example to the last."""
    with standing_in() as provider, asyncio.Runner() as loop:
        stack = loop.run(AsyncExitStack().__aenter__())
        shelf = loop.run(stack.enter_async_context(Shelf.open()))
        options = Options(catalog_url=shelf.url, payment_url=provider)
        here = loop.run(stack.enter_async_context(Orders.open(settings, options)))
        owner = loop.run(asyncpg.connect(database_url, server_settings={"search_path": "orders"}))
        yield type("Life", (Life,), {"loop": loop, "here": here, "shelf": shelf, "owner": owner})
        loop.run(owner.close())
        loop.run(stack.aclose())


def test_whatever_happens_to_orders_the_ledger_adds_up(life: type[Life]) -> None:
    """One that fails is told as it was found: to shorten it takes minutes of a database's time."""
    chosen = how(
        max_examples=40,
        stateful_step_count=20,
        phases=[Phase.generate],
        deadline=None,
        database=None,
    )
    run_state_machine_as_test(life, settings=chosen)
