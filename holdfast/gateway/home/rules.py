"""How the workers' figures become one set.

Counts are added. Percentiles cannot be: they are read from the added-up buckets, so they are as
fine as the buckets and true for all workers together. The loop's lag is the worst worker's.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

from holdfast.gateway.home.schemas import (
    Buckets,
    Figures,
    Process,
    RouteFigures,
    WorkerFigures,
    WorkerRoute,
)


def combine(processes: list[Process], told: Mapping[str, WorkerFigures | None]) -> Figures:
    answered = [one for one in told.values() if one is not None]
    routes = [route for worker in answered for route in worker.routes]
    return Figures(
        requests=sum(worker.requests for worker in answered),
        errors=sum(worker.errors for worker in answered),
        in_flight=sum(worker.in_flight for worker in answered),
        loop_lag_ms=max((worker.loop_lag_ms for worker in answered), default=0.0),
        routes=combine_routes(routes),
        buckets=add_buckets(route.buckets for route in routes),
        answering=[name for name, one in told.items() if one is not None],
        silent=[name for name, one in told.items() if one is None],
        processes=processes,
    )


def combine_routes(routes: Iterable[WorkerRoute]) -> list[RouteFigures]:
    """One entry a route, the busiest first."""
    ordered = sorted(routes, key=_identity)
    combined = [_add(list(same)) for _, same in groupby(ordered, key=_identity)]
    return sorted(combined, key=lambda route: -route.requests)


def _identity(route: WorkerRoute) -> tuple[str, str]:
    return route.route, route.method


def _add(same: list[WorkerRoute]) -> RouteFigures:
    buckets = add_buckets(route.buckets for route in same)
    return RouteFigures(
        method=same[0].method,
        route=same[0].route,
        requests=sum(route.requests for route in same),
        errors=sum(route.errors for route in same),
        p50_ms=percentile_ms(buckets, 0.50),
        p95_ms=percentile_ms(buckets, 0.95),
        p99_ms=percentile_ms(buckets, 0.99),
    )


def add_buckets(many: Iterable[Buckets]) -> Buckets:
    """All workers run the same code, so their bounds are the same."""
    found = list(many)
    if not found:
        return Buckets([], [])
    counts = [sum(column) for column in zip(*(one.counts for one in found), strict=True)]
    return Buckets(found[0].le_ms, counts)


def percentile_ms(buckets: Buckets, share: float) -> float | None:
    """Straight between a bucket's bounds; beyond the last bound, that bound; of nothing, nothing."""
    total = sum(buckets.counts)
    if not total:
        return None
    lower_ms, seen = 0.0, 0
    for upper_ms, count in zip(buckets.le_ms, buckets.counts, strict=False):
        if count and seen + count >= share * total:
            return lower_ms + (upper_ms - lower_ms) * (share * total - seen) / count
        lower_ms, seen = upper_ms, seen + count
    return lower_ms
