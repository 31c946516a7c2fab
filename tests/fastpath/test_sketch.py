"""The quantile sketch: exact while it is small, close when it is not, and the same when merged."""

from __future__ import annotations

import numpy as np
import pytest

from fastpath import sketch

P = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])


def sketched(values):
    state = sketch.empty(1)
    sketch.sketched(np.asarray(values, np.float64), state)
    return state


def rank_error(values, state, p):
    """How far, in rank, the sketch's p-quantile lies from p; 0 within ties."""
    ordered = np.sort(values)
    got = sketch.quantiles(state, 0, np.array([p]))[0]
    low, high = np.searchsorted(ordered, got, "left"), np.searchsorted(ordered, got, "right")
    return max(low / len(ordered) - p, p - high / len(ordered), 0.0)


@pytest.mark.parametrize("n", [1, 2, 3, 11, 95, 96])
def test_small_windows_are_exact(n):
    x = np.random.default_rng(n).normal(size=n)
    np.testing.assert_allclose(sketch.quantiles(sketched(x), 0, P), np.quantile(x, P), rtol=1e-12)


def test_an_empty_sketch_has_no_quantiles():
    assert np.isnan(sketch.quantiles(sketch.empty(1), 0, P)).all()


SERIES = {
    "gaussian": lambda rng, n: rng.normal(size=n),
    "sorted": lambda rng, n: np.arange(n, dtype=float),
    "falling": lambda rng, n: -np.arange(n, dtype=float),
    "lognormal": lambda rng, n: np.exp(2 * rng.normal(size=n)),
    "quantised": lambda rng, n: np.round(rng.normal(size=n)),
    "two levels": lambda rng, n: np.where(rng.random(n) < 0.4, 10.0, 0.0) + rng.normal(size=n),
}


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("n", [300, 4000])
def test_long_windows_are_within_two_percent_of_rank(kind, n):
    x = SERIES[kind](np.random.default_rng(n), n)
    state = sketched(x)
    assert state.fill[0, sketch.FILL] <= sketch.CAPACITY
    assert state.weight[0, : state.fill[0, sketch.FILL]].sum() == n
    for p in (0.05, 0.5, 0.95):
        assert rank_error(x, state, p) <= 0.02, p


@pytest.mark.parametrize("n", [60, 1000])
def test_two_merged_halves_agree_with_the_whole(n):
    x = np.random.default_rng(3).gamma(2.0, size=n)
    left, right = sketched(x[: n // 3]), sketched(x[n // 3 :])
    sketch.merge(left, 0, right, 0)
    assert left.weight[0, : left.fill[0, sketch.FILL]].sum() == n
    for p in (0.05, 0.5, 0.95):
        assert rank_error(x, left, p) <= 0.02, p
    if n <= sketch.CAPACITY:
        np.testing.assert_allclose(sketch.quantiles(left, 0, P), np.quantile(x, P), rtol=1e-12)


def test_extreme_values_stay_finite():
    x = np.tile([1e308, -1e308, 5e-324, 0.0], 100)
    assert np.isfinite(sketch.quantiles(sketched(x), 0, P)).all()
