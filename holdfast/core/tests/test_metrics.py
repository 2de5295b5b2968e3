import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.telemetry.metrics import LATENCIES_S, Histogram, Registry


def test_render_writes_the_text_format() -> None:
    registry = Registry()
    orders = registry.counter("orders_total", "Orders, by outcome.", "outcome", "app")
    orders.of("sold", "a").add()
    orders.of("sold", "a").add(2)
    orders.of("refused", "a").add(0.5)
    registry.gauge("depth", "How deep.").of().set(-3)
    registry.gauge("temperature", "Read when asked for.").of().watch(lambda: 36.6)
    took = registry.histogram("took_seconds", "How long.", "route", bounds=(0.1, 0.25, 1)).of("/a")
    for value in (0.1, 0.2, 0.3, 7):
        took.observe(value)
    assert registry.render() == (
        "# HELP orders_total Orders, by outcome.\n"
        "# TYPE orders_total counter\n"
        'orders_total{outcome="sold",app="a"} 3\n'
        'orders_total{outcome="refused",app="a"} 0.5\n'
        "# HELP depth How deep.\n"
        "# TYPE depth gauge\n"
        "depth -3\n"
        "# HELP temperature Read when asked for.\n"
        "# TYPE temperature gauge\n"
        "temperature 36.6\n"
        "# HELP took_seconds How long.\n"
        "# TYPE took_seconds histogram\n"
        'took_seconds_bucket{route="/a",le="0.1"} 1\n'
        'took_seconds_bucket{route="/a",le="0.25"} 2\n'
        'took_seconds_bucket{route="/a",le="1"} 3\n'
        'took_seconds_bucket{route="/a",le="+Inf"} 4\n'
        'took_seconds_sum{route="/a"} 7.6\n'
        'took_seconds_count{route="/a"} 4\n'
    )


def test_label_values_and_help_are_escaped() -> None:
    registry = Registry()
    registry.gauge("g", "a \\ and\na line", "what").of('say "hi"\\\n').set(1)
    assert registry.render() == (
        '# HELP g a \\\\ and\\na line\n# TYPE g gauge\ng{what="say \\"hi\\"\\\\\\n"} 1\n'
    )


def test_special_numbers_are_written_as_prometheus_reads_them() -> None:
    registry = Registry()
    for name, value in (("a", math.inf), ("b", -math.inf), ("c", math.nan), ("d", 1e-7)):
        registry.gauge(name, "").of().set(value)
    samples = [line for line in registry.render().splitlines() if not line.startswith("#")]
    assert samples == ["a +Inf", "b -Inf", "c NaN", "d 1e-07"]


def test_asking_again_gives_the_same_family_and_another_shape_is_refused() -> None:
    registry = Registry()
    registry.counter("n_total", "", "a").of("x").add()
    assert registry.counter("n_total", "", "a").of("x").value == 1
    with pytest.raises(ValueError, match="n_total is a counter with labels"):
        registry.gauge("n_total", "", "a")
    with pytest.raises(ValueError, match="n_total has labels"):
        registry.counter("n_total", "", "a").of()
    with pytest.raises(ValueError, match="cannot name"):
        registry.gauge("no-dash", "")


observations = st.lists(st.floats(0, LATENCIES_S[-1]), min_size=1, max_size=200)


@given(observations, st.floats(0, 1))
def test_a_quantile_falls_into_the_bucket_of_the_true_one(values: list[float], q: float) -> None:
    histogram = Histogram(LATENCIES_S)
    for value in values:
        histogram.observe(value)
    rank = max(1, math.ceil(q * len(values)))
    bucket = bisect_left(LATENCIES_S, sorted(values)[rank - 1])
    lower = LATENCIES_S[bucket - 1] if bucket else 0
    quantile = histogram.quantile(q)
    assert lower <= quantile or math.isclose(lower, quantile)
    assert quantile <= LATENCIES_S[bucket] or math.isclose(quantile, LATENCIES_S[bucket])


@given(observations)
def test_counts_and_sum_are_exact(values: list[float]) -> None:
    histogram = Histogram(LATENCIES_S)
    for value in values:
        histogram.observe(value)
    samples = [(suffix, labels, value) for suffix, labels, value in histogram.samples()]
    for _, labels, cumulated in samples[:-2]:
        assert cumulated == sum(value <= float(labels["le"]) for value in values)
    assert samples[-2][2] == pytest.approx(sum(values))
    assert samples[-1][2] == len(values)


def test_quantiles_beyond_the_last_bound_and_of_nothing() -> None:
    histogram = Histogram((1, 2))
    assert math.isnan(histogram.quantile(0.5))
    histogram.observe(50)
    assert histogram.quantile(0.5) == 2
