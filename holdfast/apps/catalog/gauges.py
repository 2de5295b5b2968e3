"""What the catalog shows of itself while it runs, besides its requests."""

from holdfast.apps.catalog.resources import Catalog
from holdfast.core.telemetry.metrics import PROCESS, Registry

APP = "catalog"


def show(here: Catalog, registry: Registry = PROCESS) -> None:
    connections = registry.gauge(
        "holdfast_database_connections", "Of the pool, by what they do.", "app", "state"
    )
    connections.of(APP, "in_use").watch(lambda: here.db.in_use)
    connections.of(APP, "at_most").watch(lambda: here.db.size)
    connections.of(APP, "waited_for").watch(lambda: here.db.waiting)
    reads = registry.counter("holdfast_cache_reads_total", "By outcome.", "cache", "outcome")
    reads.of("products", "hit").watch(lambda: here.lists.products.hits)
    reads.of("products", "miss").watch(lambda: here.lists.products.misses)
    reads.of("deals", "hit").watch(lambda: here.lists.deals.hits)
    reads.of("deals", "miss").watch(lambda: here.lists.deals.misses)
    lease = registry.gauge(
        "holdfast_epochs_lease_held", "1 while decisions may be given from memory.", "app"
    )
    lease.of(APP).watch(lambda: float(here.lease.held))
    noted = registry.gauge("holdfast_epochs_noted", "The last change that was noted.", "app")
    noted.of(APP).watch(lambda: here.lease.slots.noted)
