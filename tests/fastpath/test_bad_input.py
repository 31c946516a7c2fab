"""Whatever comes in, nothing crashes and all that is kept stays finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chain import INF, S, channels, conditions, push

from fastpath import filter, summary
from fastpath.chain import Chain
from fastpath.loop import LoopBank

YEAR = 365 * 86400 * S
VALUES = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 1e308, -1e308, 1.7976931348623157e308, 5e-324, 1e-310, np.nan, INF, -INF]),
)
TIMES = st.one_of(
    st.integers(-3 * S, 200 * S),
    st.sampled_from([0, S, S, -YEAR, YEAR, 40 * YEAR, 2**63 - 1, -(2**63)]),
)
READING = st.tuples(st.integers(0, 2), TIMES, VALUES, st.integers(0, 255))
CALM = settings(deadline=None, derandomize=True, max_examples=60, database=None)
RULES = conditions(*[(c, op, 1.0, 0.5, S, S) for c in range(3) for op in range(5)])


def everything(window_ns=60 * S, filter=1, detector=1):
    return channels(
        kind=[0, 1, 2], filter=[filter, 0, 6], detector=[detector, 6, 7], settle_ns=[9 * S] * 3, band=[0.5] * 3,
        low=[-INF, 0.0, -INF], rollover=[INF, 1000.0, INF], step=[5.0, INF, INF], window_ns=[window_ns] * 3,
    )  # fmt: skip


def arrays(state):
    for part in state:
        yield from arrays(part) if isinstance(part, tuple) else [part]


def assert_sound(chain, windows):
    """No infinite or lost number in the state, but where an empty window says so."""
    state = chain._state
    filters = state.number[:2, filter.FILTER : filter.COUNT]  # that of states holds a time, too
    for part in (filters, state.detector, state.evidence_number[:, 1::2], *state.sketch[:2]):
        assert np.isfinite(part).all()
    counted = state.whole[:, summary.M] > 0
    assert np.isfinite(state.number[counted, summary.MIN : summary.BEFORE + 1]).all()
    for w in windows:
        assert (w.end_ns >= w.start_ns).all()
        assert (w.expected >= w.n).all()
        for name in ("min", "max", "mean", "sd", "first", "last", "p50", "p95"):
            assert not np.isinf(getattr(w, name)).any(), name


@CALM
@given(st.lists(READING, max_size=60), st.integers(-2 * S, 2 * S), st.integers(0, 5), st.integers(0, 10))
def test_any_readings_leave_a_sound_chain(readings, align, filter, detector):
    chain = Chain(everything(filter=filter, detector=detector), RULES, start_ns=0, align_ns=align)
    c, t, x, q = zip(*readings, strict=True) if readings else ((), (), (), ())
    out = chain.push(np.array(c, np.int32), np.array(t, np.int64), np.array(x, float), np.array(q, np.uint8))
    closed = chain.close_all(max([0, *t]))
    assert_sound(chain, [out.windows, closed])
    numbers = sum(np.isfinite(v) and k < 128 for v, k in zip(x, q, strict=True))
    assert out.windows.n.sum() + closed.n.sum() == numbers


@CALM
@given(st.lists(VALUES, min_size=1, max_size=20), st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 10))
def test_a_long_series_of_odd_values_leaves_a_sound_chain(values, seed, filter, detector):
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array(values), 150)
    chain = Chain(everything(20 * S, filter, detector), RULES, start_ns=0)
    for c in range(3):
        out = push(chain, np.arange(150) * S, x, channel=c)
        assert_sound(chain, [out.windows])
    assert_sound(chain, [chain.close_due(1000 * S), chain.close_all(1000 * S)])


@pytest.mark.parametrize("detector", range(1, 11))
@pytest.mark.parametrize("factor", [1.8, 1000.0, 1e-3])
def test_a_change_of_unit_is_no_storm(detector, factor):
    x = 20 + np.random.default_rng(1).normal(size=3000)
    x[1000:] = factor * x[1000:] + 32
    onsets = push(Chain(everything(detector=detector), conditions(), start_ns=0), np.arange(3000) * S, x).alerts.onset
    assert onsets.sum() <= (8 if detector == 1 else 3)


@pytest.mark.parametrize("detector", range(1, 11))
def test_a_year_of_silence_repeated_times_and_clock_steps_are_no_storm(detector):
    x = 20 + np.round(np.random.default_rng(2).normal(size=3000), 1)
    t = (np.arange(3000) + 1) * S
    t[1000:] += YEAR
    t[1500:1520] = t[1500]
    t[2000:] -= 3600 * S
    t[2500:] += 7200 * S
    onsets = push(Chain(everything(detector=detector), conditions(), start_ns=0), t, x).alerts.onset
    assert onsets.sum() <= (3 if detector in (1, 7) else 1)  # silence is what `missing` is there to find


def test_a_clock_that_stepped_back_does_not_stop_conditions_or_filters():
    chain = Chain(everything(), conditions((0, 0, 50.0, 50.0, 5 * S, 0)), start_ns=0)
    push(chain, [100 * S, 103 * S], [60.0, 60.0])
    back = push(chain, [k * S for k in range(10)], [60.0] * 10)
    assert back.changes.time_ns.tolist() == [5 * S]
    assert back.mark[1:].tolist() == [0] * 9


def test_no_channels_at_all():
    chain = Chain(channels(kind=[]), conditions(), start_ns=0)
    assert push(chain, [], []).mark.size == 0
    assert chain.close_due(YEAR).n.size == chain.close_all(YEAR).n.size == 0


@CALM
@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=40))
def test_any_samples_leave_a_sound_bank(samples):
    bank = LoopBank(2, 50.0, stuck_s=0.2)
    rows = bank.push(np.array(samples, float).reshape(-1, 2))
    assert np.isfinite(bank._number).all()
    assert np.isfinite(rows.peak).all()
    assert (rows.off >= rows.on).all()
    assert (bank.occupied_samples >= 0).all()
