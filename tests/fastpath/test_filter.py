"""Gates and filters by example and against plain references; the whole chain is compared in test_chain.py."""

from __future__ import annotations

import numpy as np
import pytest
from plain_fastpath import PlainHampel
from test_chain import INF, S, channels, conditions, push

from fastpath.chain import Chain
from fastpath.marks import FILTERED, MISSING, RANGE, SPIKE, STALE, STEP

HAMPEL_REPLACE, MEDIAN, EWMA, DEADBAND, DEBOUNCE = 2, 3, 4, 5, 6


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


def kept(values, which, times=None, **params):
    """(marks, the values that go on): windows of one reading show them, evidence what was read."""
    times = [(k + 1) * S for k in range(len(values))] if times is None else times
    chain = Chain(channels(filter=[which], window_ns=[1], **params), conditions(), start_ns=0)
    marks, means = [], []
    for t, x in zip(times, values, strict=True):
        marks += push(chain, [t], [x]).mark.tolist()
        means.append(chain.close_all(t + 1).last[-1])
    np.testing.assert_array_equal(chain.evidence(0, 32)[1], np.array(values, float)[-32:])
    return marks, means


def test_a_change_faster_than_the_rate_is_a_step_whatever_the_pause():
    assert marks([0.0, 5.0, 11.0, 30.0], times=[S, 2 * S, 3 * S, 9 * S], rate=[5.0]) == [0, 0, STEP, 0]


def test_a_spike_is_replaced_on_request_only():
    x = np.random.default_rng(7).normal(size=60)
    x[40] = 30.0
    plain, replaced = kept(x, 1), kept(x, HAMPEL_REPLACE)
    assert plain[0][40] == SPIKE
    assert plain[1][40] == 30.0
    assert replaced[0][40] == SPIKE | FILTERED
    assert replaced[1][40] == sorted(x[30:41])[5]
    assert replaced[1][:40] == x[:40].tolist()


def test_the_median_is_that_of_the_last_eleven():
    x = np.random.default_rng(8).normal(size=60)
    expected = [sorted(x[max(0, k - 10) : k + 1])[(min(k, 10)) // 2] for k in range(60)]
    assert kept(x, MEDIAN)[1] == expected


def test_the_average_is_weighted_by_age():
    rng = np.random.default_rng(9)
    x, t = rng.normal(size=50), np.cumsum(rng.integers(1, 100, 50)) * S
    expected = [x[0]]
    for k in range(1, 50):
        share = np.exp(-(t[k] - t[k - 1]) / (30 * S))
        expected.append(share * expected[-1] + (1 - share) * x[k])
    got, means = kept(x, EWMA, times=t.tolist(), settle_ns=[30 * S])
    np.testing.assert_allclose(means, expected)
    assert got == [0] + [FILTERED] * 49


def test_a_deadband_holds_small_moves_back():
    marked, values = kept([10.0, 10.4, 9.7, 10.6, 10.2, 9.9], DEADBAND, band=[0.5])
    assert values == [10.0, 10.0, 10.0, 10.6, 10.6, 9.9]
    assert marked == [0, FILTERED, FILTERED, 0, FILTERED, 0]


def test_a_state_must_last_before_it_counts():
    chain = Chain(
        channels(kind=[2], filter=[DEBOUNCE], settle_ns=[3 * S]), conditions((0, 3, 1.0, 0, 0, 0)), start_ns=0
    )
    x = [0, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]
    out = push(chain, [(k + 1) * S for k in range(15)], x)
    assert [bool(m & FILTERED) for m in out.mark] == [v != k for v, k in zip(x, [0] * 6 + [1] * 8 + [0], strict=True)]
    assert out.changes.time_ns.tolist() == [7 * S, 15 * S]
    assert chain.evidence(0, 15)[1].tolist() == x


def test_a_filter_that_does_not_fit_its_kind_is_left_out():
    assert marks([1.0, 50.0, 1.0], kind=[1], filter=[MEDIAN]) == [0, 0, 0]
    assert marks([1.0, 50.0, 1.0], kind=[0], filter=[DEBOUNCE], settle_ns=[9 * S]) == [0, 0, 0]


def test_a_detector_sees_what_the_filter_lets_through():
    x = np.round(np.random.default_rng(10).normal(size=1000), 3)
    x[700] = 40.0

    def onsets(which):
        chain = Chain(channels(filter=[which], detector=[3]), conditions(), start_ns=0)
        return push(chain, [(k + 1) * S for k in range(1000)], x).alerts.onset.sum()

    assert (onsets(1), onsets(HAMPEL_REPLACE)) == (1, 0)
