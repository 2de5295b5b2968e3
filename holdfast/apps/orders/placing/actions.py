"""Orders are placed: all that wait at the same moment in one transaction, each with its own answer."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from uuid import UUID

from asyncpg import UniqueViolationError

from holdfast.apps.orders.placing import queries
from holdfast.apps.orders.placing.cache import MOST_BUYERS
from holdfast.apps.orders.placing.rules import Again, Decision, Known, Same, Stock, Won, decide
from holdfast.apps.orders.placing.schemas import Asked
from holdfast.apps.orders.records.queries import select_orders
from holdfast.apps.orders.records.schemas import ItemOut, OrderOut, order_of
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room.queries import lock_admitted, update_entries_used
from holdfast.apps.orders.room.rules import PATIENCE
from holdfast.core.db import Executor
from holdfast.core.errors import BusyError, ProblemError

Answer = OrderOut | ProblemError


async def place_orders(here: Orders, asked: list[Asked]) -> list[Answer]:
    """Decide about all of them under their offers' locks; one who lost is told why.

    Whoever uses one key at the same moment for different offers is not stopped by those locks, but
    by the key being unique; by then the other order is there to be seen. When the database is
    away or busy it is so for all of them: to ask again for each alone would keep everyone waiting.
    """
    try:
        return await _place(here, asked)
    except UniqueViolationError:
        return await _place(here, asked)
    except BusyError as error:
        return [type(error)() for _ in asked]


async def _place(here: Orders, asked: list[Asked]) -> list[Answer]:
    async with here.db.transaction() as db:
        wanted = sorted({item.offer_id for order in asked for item in order.items})
        offers = await queries.lock_offers(db, wanted)
        stocks = {row.id: _stock(row) for row in offers}
        rooms = [row.id for row in offers if row.has_room]
        for offer_id in rooms:
            stocks[offer_id].admitted = await _admitted(db, asked, offer_id)
        decisions = decide(asked, stocks, await _known(db, asked, stocks))
        won = await _insert(db, asked, decisions, here.options.hold_s)
        for offer_id in rooms:
            await _use_turns(db, [asked[n] for n in won], offer_id)
        again = await _read(db, [one.order_id for one in decisions if isinstance(one, Again)])
    with suppress(BusyError):  # what was placed is placed, whether it can be noted or not
        await _note_sold_out(here, stocks)
    named = {row.id: row for row in offers}
    answers: list[Answer] = []
    for n, decision in enumerate(decisions):
        match decision:
            case Won():
                answers.append(_order(asked[n], decision, won[n], named))
            case Again(order_id):
                answers.append(again[order_id])
            case Same(first):
                answers.append(answers[first])
            case _:
                answers.append(decision)
    return answers


def _stock(row: queries.Offer) -> Stock:
    return Stock(row.state, row.price_krw, row.per_customer, row.remaining, row.places)


async def _admitted(db: Executor, asked: Sequence[Asked], offer_id: UUID) -> set[UUID]:
    """Whose turn it is in the offer's waiting room, of those who want it."""
    customers = {order.customer_id for order in asked if _wants(order, offer_id)}
    admitted = await lock_admitted(
        db, offer_id=offer_id, customer_ids=list(customers), patience=PATIENCE
    )
    return set(admitted)


async def _use_turns(db: Executor, won: Sequence[Asked], offer_id: UUID) -> None:
    customers = [order.customer_id for order in won if _wants(order, offer_id)]
    if customers:
        await update_entries_used(db, offer_id=offer_id, customer_ids=customers)


def _wants(order: Asked, offer_id: UUID) -> bool:
    return any(item.offer_id == offer_id for item in order.items)


async def _known(
    db: Executor, asked: Sequence[Asked], stocks: dict[UUID, Stock]
) -> dict[int, Known]:
    """Who has asked before; and in the stocks, who has how many of what is limited."""
    limited = {offer_id for offer_id, stock in stocks.items() if stock.per_customer is not None}
    rows = [(n, order, item) for n, order in enumerate(asked) for item in order.items]
    past = await queries.select_history(
        db,
        ns=list(range(len(rows))),
        customer_ids=[order.customer_id for _, order, _ in rows],
        keys=[order.key for _, order, _ in rows],
        limited_ids=[item.offer_id if item.offer_id in limited else None for _, _, item in rows],
    )
    known = {}
    for one in past:
        n, order, item = rows[one.n]
        if one.order_id is not None and one.digest is not None:
            known[n] = Known(one.order_id, one.digest)
        if item.offer_id in limited:
            stocks[item.offer_id].units[order.customer_id] = one.units
    return known


async def _insert(
    db: Executor, asked: Sequence[Asked], decisions: Sequence[Decision], hold_s: float
) -> dict[int, queries.Made]:
    won = [(n, asked[n], one) for n, one in enumerate(decisions) if isinstance(one, Won)]
    if not won:
        return {}
    items = [
        (n, line, item, place)
        for n, order, decision in won
        for line, (item, place) in enumerate(zip(order.items, decision.places, strict=True))
    ]
    made = await queries.insert_orders(
        db,
        hold=timedelta(seconds=hold_s),
        ns=[n for n, _, _ in won],
        customer_ids=[order.customer_id for _, order, _ in won],
        keys=[order.key for _, order, _ in won],
        digests=[order.digest for _, order, _ in won],
        totals_krw=[decision.total_krw for _, _, decision in won],
        item_ns=[n for n, _, _, _ in items],
        lines=[line for _, line, _, _ in items],
        offer_ids=[item.offer_id for _, _, item, _ in items],
        places=[place for _, _, _, place in items],
        quantities=[item.quantity for _, _, item, _ in items],
    )
    return {row.n: row for row in made}


async def _read(db: Executor, ids: Sequence[UUID]) -> dict[UUID, OrderOut]:
    return {row.id: order_of(row) for row in await select_orders(db, ids)} if ids else {}


def _order(
    asked: Asked, won: Won, made: queries.Made, offers: Mapping[UUID, queries.Offer]
) -> OrderOut:
    """What `select_orders` would tell of it, without asking."""
    return OrderOut(
        id=made.id,
        status="reserved",
        items=[
            ItemOut(
                offer_id=item.offer_id,
                name=offers[item.offer_id].name,
                quantity=item.quantity,
                unit_price_krw=offers[item.offer_id].price_krw,
                place=place,
            )
            for item, place in zip(asked.items, won.places, strict=True)
        ],
        total_krw=won.total_krw,
        placed_at=made.placed_at,
        held_until=made.held_until,
        changed_at=made.placed_at,
        key=asked.key,
    )


async def _note_sold_out(here: Orders, stocks: Mapping[UUID, Stock]) -> None:
    seen_at = monotonic()
    for offer_id, stock in stocks.items():
        if stock.remaining or stock.state != "open" or stock.places > MOST_BUYERS:
            continue
        after = here.sold_out.places(offer_id)
        buyers = []
        if stock.places > after:
            buyers = await queries.select_buyers(here.db, offer_id=offer_id, after=after)
        here.sold_out.note(
            offer_id, after=after, places=stock.places, buyers=buyers, seen_at=seen_at
        )
