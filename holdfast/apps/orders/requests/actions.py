"""Requests for orders: stored together, and decided about in the order in which they came.

Whoever was told that a request is stored can count on its being decided. Its order is placed by the
same code and under the same key as any other. A process may die after that and before the request
is marked: whoever decides next places it again, and its key answers with the order that there is.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from holdfast.apps.orders.offers.actions import require_offers
from holdfast.apps.orders.offers.schemas import CatalogAwayError
from holdfast.apps.orders.placing.actions import place_orders
from holdfast.apps.orders.placing.schemas import Asked, Item, KeyReusedError
from holdfast.apps.orders.records.schemas import OrderOut
from holdfast.apps.orders.requests import queries
from holdfast.apps.orders.requests.schemas import QueueFullError, RequestOut, request_of
from holdfast.apps.orders.resources import Orders
from holdfast.core.db import Executor
from holdfast.core.errors import BusyError, ProblemError

MOST_WAITING = 20_000
AT_ONCE = 512
CATALOG_ANSWERS_WITHIN_S = 0.2  # or those who want this offer wait, and nobody else
MOST_TRIES = 5  # half a minute; then it is no matter of the moment
log = logging.getLogger(__name__)

Answer = OrderOut | BaseException


@dataclass(frozen=True)
class Verdicts:
    """What became of the requests that were looked at; those that are not in it go on waiting."""

    placed: list[UUID] = field(default_factory=list)
    refused: defaultdict[str, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    failed: list[UUID] = field(default_factory=list)  # to be tried again, but not at once
    outcomes: Counter[str] = field(default_factory=Counter)

    def refuse(self, request_id: UUID, why: ProblemError) -> None:
        self.refused[_text(why.problem)].append(request_id)
        self.outcomes[why.name] += 1


class Turn(NamedTuple):
    """What one look at the queue came to."""

    outcomes: Counter[str]  # how many requests were decided, by what became of them
    aside: set[UUID]  # offers about which nothing can be decided at this moment


NOTHING = Turn(Counter(), set())


async def request_orders(here: Orders, asked: list[Asked]) -> list[RequestOut | ProblemError]:
    """Each is stored once, under its customer's key, also if it is asked for twice at this moment.

    When the database is away or busy it is so for all of them, as with orders.
    """
    firsts: dict[tuple[UUID, str], int] = {}
    for n, order in enumerate(asked):
        firsts.setdefault((order.customer_id, order.key), n)
    new = [asked[n] for n in firsts.values()]
    try:
        async with here.db.transaction() as db:
            await queries.lock_queue(db)
            rows = await queries.insert_requests(
                db,
                ns=list(firsts.values()),
                customer_ids=[order.customer_id for order in new],
                keys=[order.key for order in new],
                digests=[order.digest for order in new],
                items=[_text(order.items) for order in new],
                most=MOST_WAITING,
            )
    except BusyError as error:
        return [type(error)() for _ in asked]
    stored = {row.n: row for row in rows}
    return [_stored(order, stored.get(firsts[order.customer_id, order.key])) for order in asked]


def _stored(order: Asked, row: queries.Stored | None) -> RequestOut | ProblemError:
    if row is None:
        return QueueFullError()
    return request_of(row) if row.digest == order.digest else KeyReusedError()


async def decide_requests(here: Orders, aside: set[UUID]) -> Turn:
    """Decide about those who came first, but not about who wants one of these offers.

    One process at a time does this, so that who came first is first. When the connection that says
    so is lost meanwhile another may begin; then the keys see to it that each order is placed once.
    """
    async with here.db.transaction() as db:
        if not await queries.lock_decisions(db):
            return NOTHING
        rows = await queries.select_requests_waiting(
            db, aside=[_text([[offer_id]]) for offer_id in aside], most=AT_ONCE
        )
        if not rows:
            return NOTHING
        asked = [_asked(row) for row in rows]
        objections = await _objections(here, {item.offer_id for one in asked for item in one.items})
        answers = await _place(here, asked, objections)
        verdicts = _judge(rows, answers)
        await _mark(db, verdicts, min(row.requested_at for row in rows))
    return Turn(
        verdicts.outcomes, {one for one, why in objections.items() if isinstance(why, BusyError)}
    )


def _asked(row: queries.Waiting) -> Asked:
    items = msgspec.json.decode(row.items, type=tuple[Item, ...])
    return Asked(row.customer_id, row.key, row.digest, items)


async def _objections(here: Orders, offers: set[UUID]) -> dict[UUID, BaseException]:
    """What stands against selling these by what is known of them."""

    async def ask(offer_id: UUID) -> None:
        try:
            async with asyncio.timeout(CATALOG_ANSWERS_WITHIN_S):
                await require_offers(here, [offer_id])
        except TimeoutError:
            raise CatalogAwayError from None

    answers = await asyncio.gather(*map(ask, offers), return_exceptions=True)
    return {offer_id: why for offer_id, why in zip(offers, answers, strict=True) if why}


async def _place(
    here: Orders, asked: Sequence[Asked], objections: Mapping[UUID, BaseException]
) -> list[Answer]:
    """All together, in this order; after a failure each alone, so that it is one request's only."""
    place = here.merged(place_orders, most=AT_ONCE)

    async def answer(order: Asked) -> Answer:
        for item in order.items:
            if item.offer_id in objections:
                return objections[item.offer_id]
        return await place(order)

    return list(await asyncio.gather(*map(answer, asked), return_exceptions=True))


def _judge(rows: Sequence[queries.Waiting], answers: Sequence[Answer]) -> Verdicts:
    verdicts = Verdicts()
    for row, answer in zip(rows, answers, strict=True):
        match answer:
            case OrderOut():
                verdicts.placed.append(row.id)
                verdicts.outcomes["placed"] += 1
            case BusyError():
                pass  # it goes on waiting
            case ProblemError():
                verdicts.refuse(row.id, answer)
            case _ if row.tries < MOST_TRIES:
                verdicts.failed.append(row.id)
                log.error("Request %s cannot be decided about yet", row.id, exc_info=answer)
            case _:
                verdicts.refuse(row.id, ProblemError())
    return verdicts


async def _mark(db: Executor, verdicts: Verdicts, oldest: datetime) -> None:
    if verdicts.placed:
        await queries.update_requests_placed(db, ids=verdicts.placed, oldest=oldest)
    for problem, ids in verdicts.refused.items():
        await queries.update_requests_refused(db, ids=ids, problem=problem, oldest=oldest)
    if verdicts.failed:
        await queries.update_requests_failed(db, ids=verdicts.failed, oldest=oldest)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
