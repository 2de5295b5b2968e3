"""What identity shows of itself while it runs, besides its requests."""

from holdfast.apps.identity.resources import Identity
from holdfast.core.telemetry.metrics import PROCESS, Registry

APP = "identity"


def show(here: Identity, registry: Registry = PROCESS) -> None:
    connections = registry.gauge(
        "holdfast_database_connections", "Of the pool, by what they do.", "app", "state"
    )
    connections.of(APP, "in_use").watch(lambda: here.db.in_use)
    connections.of(APP, "at_most").watch(lambda: here.db.size)
    connections.of(APP, "waited_for").watch(lambda: here.db.waiting)
    hashing = registry.gauge("holdfast_hashing_passwords", "Passwords, by state.", "app", "state")
    hashing.of(APP, "queued").watch(lambda: here.hashing.queued)
    hashing.of(APP, "running").watch(lambda: here.hashing.running)
    grants = registry.counter("holdfast_cache_reads_total", "By outcome.", "cache", "outcome")
    grants.of("grants", "hit").watch(lambda: here.grants.hits)
    grants.of("grants", "miss").watch(lambda: here.grants.misses)
    lease = registry.gauge(
        "holdfast_epochs_lease_held", "1 while decisions may be given from memory.", "app"
    )
    lease.of(APP).watch(lambda: float(here.lease.held))
    noted = registry.gauge("holdfast_epochs_noted", "The last change that was noted.", "app")
    noted.of(APP).watch(lambda: here.lease.slots.noted)
