"""What orders show of themselves while they run, besides their requests."""

from holdfast.apps.orders.resources import Orders
from holdfast.core.telemetry.metrics import PROCESS, Registry

APP = "orders"

decided = PROCESS.counter(
    "holdfast_orders_total", "Orders asked for, by what became of them.", "outcome"
)


def show(here: Orders, registry: Registry = PROCESS) -> None:
    connections = registry.gauge(
        "holdfast_database_connections", "Of the pool, by what they do.", "app", "state"
    )
    connections.of(APP, "in_use").watch(lambda: here.db.in_use)
    connections.of(APP, "at_most").watch(lambda: here.db.size)
    connections.of(APP, "waited_for").watch(lambda: here.db.waiting)
    queued = registry.gauge("holdfast_orders_queued", "Callers waiting for a merged statement.")
    queued.of().watch(lambda: here.queued)
