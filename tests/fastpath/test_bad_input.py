"""Whatever comes in, nothing crashes and all that is kept stays finite."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chain import INF, S, channels, conditions, push

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


def everything(window_ns=60 * S):
    return channels(
        kind=[0, 1, 2], filter=[1, 1, 1], detector=[1, 1, 1], low=[-INF, 0.0, -INF], rollover=[INF, 1000.0, INF],
        step=[5.0, INF, INF], window_ns=[window_ns] * 3,
    )  # fmt: skip


def arrays(state):
    for part in state:
        yield from arrays(part) if isinstance(part, tuple) else [part]


def assert_sound(chain, windows):
    """No infinite or lost number in the state, but where an empty window says so."""
    state = chain._state
    for part in (state.hampel, state.detector, state.evidence_value, *state.window.sketch[:2]):
        assert np.isfinite(part).all()
    assert np.isfinite(state.window.number[state.window.whole[:, 4] > 0]).all()
    for w in windows:
        assert (w.end_ns >= w.start_ns).all()
        assert (w.expected >= w.n).all()
        for name in ("min", "max", "mean", "sd", "first", "last", "p50", "p95"):
            assert not np.isinf(getattr(w, name)).any(), name


@CALM
@given(st.lists(READING, max_size=60), st.integers(-2 * S, 2 * S))
def test_any_readings_leave_a_sound_chain(readings, align):
    chain = Chain(everything(), RULES, start_ns=0, align_ns=align)
    c, t, x, q = zip(*readings, strict=True) if readings else ((), (), (), ())
    out = chain.push(np.array(c, np.int32), np.array(t, np.int64), np.array(x, float), np.array(q, np.uint8))
    closed = chain.close_all(max([0, *t]))
    assert_sound(chain, [out.windows, closed])
    numbers = sum(np.isfinite(v) and k < 128 for v, k in zip(x, q, strict=True))
    assert out.windows.n.sum() + closed.n.sum() == numbers


@CALM
@given(st.lists(VALUES, min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_a_long_series_of_odd_values_leaves_a_sound_chain(values, seed):
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array(values), 150)
    chain = Chain(everything(20 * S), RULES, start_ns=0)
    for c in range(3):
        out = push(chain, np.arange(150) * S, x, channel=c)
        assert_sound(chain, [out.windows])
    assert_sound(chain, [chain.close_due(1000 * S), chain.close_all(1000 * S)])


def test_a_change_of_unit_is_no_storm():
    x = 20 + np.random.default_rng(1).normal(size=2000)
    x[1000:] = 1.8 * x[1000:] + 32
    onsets = push(Chain(everything(), conditions(), start_ns=0), np.arange(2000) * S, x).alerts.onset
    assert onsets.sum() == 1


def test_a_clock_that_stepped_back_does_not_stop_conditions_or_filters():
    chain = Chain(everything(), conditions((0, 0, 50.0, 50.0, 5 * S, 0)), start_ns=0)
    push(chain, [100 * S, 103 * S], [60.0, 60.0])
    back = push(chain, [k * S for k in range(10)], [60.0] * 10)
    assert back.changes.time_ns.tolist() == [5 * S]
    assert back.mark[1:].tolist() == [0] * 9


def test_no_channels_at_all():
    chain = Chain(channels(kind=[]), conditions(), start_ns=0)
    assert push(chain, [], []).mark.size == 0
    assert chain.close_due(YEAR).n.size == chain.close_all(YEAR).n.size == chain.nbytes == 0


@CALM
@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=40))
def test_any_samples_leave_a_sound_bank(samples):
    bank = LoopBank(2, 50.0, stuck_s=0.2)
    rows = bank.push(np.array(samples, float).reshape(-1, 2))
    assert np.isfinite(bank._number).all()
    assert np.isfinite(rows.peak).all()
    assert (rows.off_index >= rows.on_index).all()
    assert (bank.occupied_samples >= 0).all()
