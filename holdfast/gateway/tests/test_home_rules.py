from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.home.rules import add_buckets, combine, percentile_ms
from holdfast.gateway.home.schemas import Buckets, WorkerFigures, WorkerRoute

LE_MS = [1.0, 2.0, 5.0, 10.0]
histograms = st.lists(st.integers(0, 1000), min_size=5, max_size=5).map(
    lambda counts: Buckets(LE_MS, counts)
)


def test_percentiles_lie_between_their_buckets_bounds() -> None:
    buckets = Buckets(LE_MS, [0, 100, 0, 0, 0])
    assert percentile_ms(buckets, 0.50) == 1.5
    assert percentile_ms(buckets, 1.0) == 2.0


def test_what_is_slower_than_all_bounds_counts_as_the_last_bound() -> None:
    assert percentile_ms(Buckets(LE_MS, [0, 0, 0, 0, 7]), 0.50) == 10.0


def test_nothing_has_no_percentile() -> None:
    assert percentile_ms(Buckets(LE_MS, [0] * 5), 0.50) is None
    assert percentile_ms(Buckets([], []), 0.50) is None


@given(histograms, histograms)
def test_a_percentile_of_two_workers_lies_between_theirs(one: Buckets, other: Buckets) -> None:
    both = percentile_ms(add_buckets([one, other]), 0.95)
    single = [p for w in (one, other) if (p := percentile_ms(w, 0.95)) is not None]
    if both is None:
        assert not single
    else:
        assert min(single) - 1e-9 <= both <= max(single) + 1e-9


def test_a_worker_that_does_not_answer_is_named_and_counts_nothing() -> None:
    route = WorkerRoute("GET", "/", 3, 1, Buckets(LE_MS, [3, 0, 0, 0, 0]))
    answered = WorkerFigures(requests=3, errors=1, in_flight=2, loop_lag_ms=0.4, routes=[route])
    figures = combine([], {"worker-1": answered, "worker-2": None})
    assert (figures.requests, figures.errors, figures.in_flight) == (3, 1, 2)
    assert figures.silent == ["worker-2"]


def test_routes_are_told_busiest_first() -> None:
    routes = [
        WorkerRoute("GET", "/a", 1, 0, Buckets(LE_MS, [1, 0, 0, 0, 0])),
        WorkerRoute("GET", "/b", 5, 0, Buckets(LE_MS, [5, 0, 0, 0, 0])),
        WorkerRoute("POST", "/a", 2, 0, Buckets(LE_MS, [2, 0, 0, 0, 0])),
    ]
    worker = WorkerFigures(requests=8, errors=0, in_flight=0, loop_lag_ms=0.0, routes=routes)
    told = combine([], {"a": worker, "b": worker}).routes
    assert [(route.method, route.route, route.requests) for route in told] == [
        ("GET", "/b", 10),
        ("POST", "/a", 4),
        ("GET", "/a", 2),
    ]
