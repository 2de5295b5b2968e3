"""What orders show of themselves while they run, besides their requests.

A worker shows its own state whenever it is asked. What waits in the database is counted by the
background jobs now and then, so that no scrape costs a statement.
"""

import asyncio
from contextlib import suppress

from holdfast.apps.orders.life import queries as life
from holdfast.apps.orders.offers import queries as offers
from holdfast.apps.orders.payments import queries as payments
from holdfast.apps.orders.requests import queries as requests
from holdfast.apps.orders.resources import Orders
from holdfast.apps.orders.room import queries as room
from holdfast.apps.orders.waiting import queries as line
from holdfast.core.db import Database
from holdfast.core.errors import BusyError
from holdfast.core.telemetry.metrics import PROCESS, Registry

APP = "orders"
COUNTED_EVERY_S = 5

decided = PROCESS.counter(
    "holdfast_orders_total", "Orders asked for, by what became of them.", "outcome"
)
watchers = PROCESS.gauge(
    "holdfast_room_watchers", "Customers who are being told of their turn."
).of()
requests_decided = PROCESS.counter(
    "holdfast_orders_requests_decided_total",
    "Requests for orders, by what became of them.",
    "outcome",
)
requests_decided.of("placed")  # from zero, or the first would be no increase


def show(here: Orders, registry: Registry = PROCESS) -> None:
    connections = registry.gauge(
        "holdfast_database_connections", "Of the pool, by what they do.", "app", "state"
    )
    connections.of(APP, "in_use").watch(lambda: here.db.in_use)
    connections.of(APP, "at_most").watch(lambda: here.db.size)
    connections.of(APP, "waited_for").watch(lambda: here.db.waiting)
    queued = registry.gauge("holdfast_orders_queued", "Callers waiting for a merged statement.")
    queued.of().watch(lambda: here.queued)


async def show_waiting_for_ever(db: Database, registry: Registry = PROCESS) -> None:
    """What is on sale, and who and what waits. While the database is away the last count stays."""
    while True:
        with suppress(BusyError):
            await _show_sale(db, registry)
            await _show_people(db, registry)
            await _show_payments(db, registry)
        await asyncio.sleep(COUNTED_EVERY_S)


async def _show_sale(db: Database, registry: Registry) -> None:
    on_sale = registry.gauge("holdfast_units_on_sale", "Of the deals that are open.", "state")
    overdue = registry.gauge(
        "holdfast_orders_overdue_seconds", "How late the order is that should have ended first."
    )
    units = await offers.select_units_on_sale(db)
    on_sale.of("remaining").set(units.remaining)
    on_sale.of("held").set(units.held)
    on_sale.of("sold").set(units.sold)
    overdue.of().set(await life.select_overdue_s(db))


async def _show_people(db: Database, registry: Registry) -> None:
    waiting = registry.gauge("holdfast_orders_requests_waiting", "Requests not yet decided.")
    oldest = registry.gauge(
        "holdfast_orders_requests_oldest_seconds", "How long the oldest of them has waited."
    )
    in_rooms = registry.gauge("holdfast_room_people", "Customers whose turn to order is to come.")
    in_line = registry.gauge("holdfast_line_people", "Customers who wait for stock that returns.")
    queue = await requests.select_queue(db)
    waiting.of().set(queue.waiting)
    oldest.of().set(queue.oldest_s)
    in_rooms.of().set(await room.select_people(db))
    in_line.of().set(await line.select_people_in_line(db))


async def _show_payments(db: Database, registry: Registry) -> None:
    without_answer = registry.gauge(
        "holdfast_payments_open", "What the provider was asked for without an answer.", "state"
    )
    oldest = registry.gauge(
        "holdfast_payments_oldest_open_seconds", "How long the oldest of them has waited."
    )
    unanswered = await payments.select_payments_open(db)
    without_answer.of("asked").set(unanswered.asked)
    without_answer.of("refunding").set(unanswered.refunding)
    oldest.of().set(unanswered.oldest_s)
