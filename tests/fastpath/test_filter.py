"""Gate and Hampel filter by example; the seeded comparison is in test_chain.py."""

from __future__ import annotations

import numpy as np
import pytest
from plain_fastpath import PlainHampel
from test_chain import INF, S, channels, conditions, push

from fastpath.chain import Chain
from fastpath.marks import MISSING, RANGE, SPIKE, STALE, STEP


def marks(values, times=None, **params):
    chain = Chain(channels(**params), conditions(), start_ns=0)
    return push(chain, times or [(k + 1) * S for k in range(len(values))], values).mark.tolist()


def test_the_gate_compares_with_the_last_believable_reading():
    got = marks([10.0, 500.0, 11.0, 30.0, 31.0], low=[0.0], high=[100.0], step=[5.0])
    assert got == [0, RANGE, 0, STEP, 0]


def test_a_counter_may_fall_by_any_amount():
    assert marks([990.0, 3.0, 5.0, 500.0], kind=[1], step=[10.0], rollover=[1000.0]) == [0, 0, 0, STEP]


def test_times_that_do_not_advance_are_stale():
    assert marks([1.0] * 5, times=[5, 5, 4, 6, 7]) == [0, STALE, STALE, 0, 0]


def test_no_number_is_missing_and_nothing_else():
    assert marks([np.nan, INF, -INF, 1.0], low=[0.0]) == [MISSING, MISSING, MISSING, 0]


def test_a_spike_is_marked_alone_and_a_new_level_only_until_it_is_the_median():
    rng = np.random.default_rng(5)
    x = rng.normal(size=200)
    x[100] = 30.0
    x[150:] += 50.0
    got = [k for k, m in enumerate(marks(x, filter=[1])) if m & SPIKE]
    assert 100 in got
    assert set(range(150, 155)) <= set(got)
    assert not set(got) & set(range(156, 200))


def test_gaussian_noise_is_hardly_ever_a_spike():
    x = np.random.default_rng(6).normal(size=5000)
    assert np.mean(np.array(marks(x, filter=[1])[200:]) != 0) < 0.01


def test_a_quantised_series_moving_by_its_step_is_no_spike():
    x = np.repeat(np.arange(20.0, 24.0, 0.1), 15)  # MAD is 0 nearly always
    got = np.array(marks(x, filter=[1]))
    assert np.count_nonzero(got) <= 6  # before the step is known


def test_a_constant_series_with_changed_values_is_not_flagged_for_ever():
    x = np.full(600, 5.0)
    x[50::10] = 6.0
    got = np.array(marks(x, filter=[1]))
    assert got[50] == SPIKE
    assert not got[51:].any()


@pytest.mark.parametrize("seed", [11, 12])
def test_hampel_agrees_with_sorting_every_time(seed):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(800) < 0.5, np.round(rng.normal(size=800), 1), rng.standard_cauchy(800))
    x[rng.random(800) < 0.01] = 1e308
    plain = PlainHampel()
    assert marks(x, filter=[1]) == [plain.push(float(v)) for v in x]
