"""The chain against its plain reference, and by example."""

from __future__ import annotations

import numpy as np
import pytest
from plain_fastpath import PlainChannel, PlainCondition

from fastpath.chain import Chain, ConditionParams, channel_params, warm

S = 1_000_000_000
INF = np.inf


def channels(**over):
    """Parameters of as many channels as the longest list given; defaults for the rest."""
    n = max((len(v) for v in over.values() if isinstance(v, list)), default=1)
    return channel_params(n, **over)


def conditions(*rows):
    """Rows (channel, op, threshold, clear, hold_ns, clear_hold_ns)."""
    columns = list(zip(*rows, strict=True)) or [()] * 6
    types = (np.int32, np.uint8, np.float64, np.float64, np.int64, np.int64)
    return ConditionParams(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))


def push(chain, times, values, channel=0, quality=0):
    n = len(times)
    return chain.push(
        np.full(n, channel, np.int32),
        np.array(times, np.int64),
        np.array(values, np.float64),
        np.full(n, quality, np.uint8),
    )


def mixed_series(rng, n, kind):
    """Readings with everything that goes wrong: late, repeated, missing, out of range, a gap."""
    steps = rng.choice([S, S, S, S, 0, -3 * S, 2 * S, 40 * S], n, p=[0.3, 0.3, 0.2, 0.1, 0.03, 0.03, 0.03, 0.01])
    steps[n // 2] = 1000 * S
    t = np.cumsum(steps)
    x = {
        0: 20 + np.round(rng.normal(size=n), 1) + 30 * (rng.random(n) < 0.02),
        1: np.cumsum(rng.integers(0, 5, n)).astype(float) % 300,
        2: (rng.random(n) < 0.4).astype(float),
    }[kind]
    x[rng.random(n) < 0.02] = rng.choice([np.nan, np.inf, -np.inf])
    x[rng.random(n) < 0.01] = 1e4
    if kind == 1:
        x[n // 3] = 50.0
    return t, x, rng.choice([0, 32, 160], n, p=[0.96, 0.02, 0.02]).astype(np.uint8)


PLAIN = ("kind", "filter", "detector", "low", "high", "step", "rollover", "window_ns", "period_ns")
RULES = [
    (0, 21.0, 19.0, 0, 0),
    (1, 19.0, 20.0, 3 * S, 2 * S),
    (2, 4.0, 0.0, S, S),
    (3, 1.0, 0.0, 0, 0),
    (4, 0.0, 0.0, 5 * S, 0),
]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_output_agrees_with_the_plain_reference(seed):
    rng = np.random.default_rng(seed)
    kinds, n = [0, 1, 2], 700
    params = channels(
        kind=kinds, filter=[1, 1, 1], detector=[2, 2, 2], low=[-100.0] * 3, high=[1000.0] * 3,
        step=[25.0, 20.0, INF], rollover=[INF, 300.0, INF], window_ns=[60 * S, 50 * S, 7 * S],
    )  # fmt: skip
    chain = Chain(
        params, conditions(*[(c, *rule) for c in range(3) for rule in RULES]), start_ns=-3 * S, align_ns=11 * S
    )
    plain = [
        PlainChannel(*(getattr(params, name)[c].item() for name in PLAIN), start=-3 * S, align=11 * S,
                     conditions=[PlainCondition(*rule) for rule in RULES])
        for c in range(3)
    ]  # fmt: skip
    series = [mixed_series(rng, n, kind) for kind in kinds]
    # the channels' readings interleaved, each in its own order
    channel = rng.permutation(np.repeat(np.arange(3, dtype=np.int32), n))
    place = np.empty(3 * n, np.int64)
    for c in range(3):
        place[channel == c] = np.arange(n)
    t, x, q = (np.array([series[c][k][i] for c, i in zip(channel, place, strict=True)]) for k in range(3))
    got = [chain.push(channel[a:b], t[a:b], x[a:b], q[a:b]) for a, b in ((0, 1), (1, 900), (900, 3 * n))]
    marks = [plain[c].push(int(a), float(b), int(d)) for c, a, b, d in zip(channel, t, x, q, strict=True)]
    now = int(t.max()) + 5 * S
    closed = chain.close_all(now)
    for p in plain:
        p.close_until(now)
        p.close(now)

    assert np.concatenate([g.mark for g in got]).tolist() == marks
    out_of_range_or_missing = (np.array(marks) & (1 | 16)) != 0
    np.testing.assert_array_equal(np.concatenate([g.kept for g in got]), np.where(out_of_range_or_missing, np.nan, x))
    assert out_of_range_or_missing.any()
    windows = [g.windows for g in got] + [closed]
    for c, p in enumerate(plain):
        for name in p.windows[0]:
            ours = np.concatenate([getattr(w, name)[w.channel == c] for w in windows])
            np.testing.assert_allclose(ours, [w[name] for w in p.windows], rtol=1e-9, atol=1e-9, err_msg=f"{c} {name}")
        alerts = [(t, bool(o)) for g in got for k, t, o, *_ in zip(*g.alerts, strict=True) if k == c]
        assert alerts == p.alerts
        changes = [
            (j - c * len(RULES), t, bool(m), s)
            for g in got
            for j, t, m, s, _ in zip(*g.changes, strict=True)
            if j // len(RULES) == c
        ]
        assert changes == p.changes
        assert changes


def test_a_reading_at_the_end_of_a_window_belongs_to_the_next():
    chain = Chain(channels(), conditions(), start_ns=30 * S)
    out = push(chain, [31 * S, 59 * S, 60 * S, 61 * S], [1.0, 3.0, 10.0, 11.0])
    w = out.windows
    assert (w.start_ns[0], w.end_ns[0], w.n[0], w.expected[0]) == (30 * S, 60 * S, 2, 30)
    assert (w.min[0], w.max[0], w.mean[0], w.sd[0], w.first[0], w.last[0]) == (1, 3, 2, 1, 1, 3)
    assert (w.last_ns[0], w.p50[0], w.quality[0]) == (59 * S, 2, 0)
    assert chain.close_due(119 * S).n.size == 0
    assert chain.close_due(120 * S).n.tolist() == [2]


def test_a_silent_channel_closes_empty_windows_and_says_what_was_due():
    chain = Chain(channels(period_ns=[10 * S, 0]), conditions(), start_ns=0)
    w = chain.close_due(125 * S)
    assert w.channel.tolist() == [0, 0, 1, 1]
    assert w.n.tolist() == [0] * 4
    assert w.expected.tolist() == [6, 6, 0, 0]
    assert np.isnan([w.min, w.max, w.mean, w.sd, w.first, w.last, w.p50, w.p95]).all()
    assert chain.close_all(124 * S).expected.tolist() == []  # 4 s: not even half a period
    assert chain.close_all(130 * S).expected.tolist() == [1]
    assert chain.close_all(130 * S).n.size == 0


def test_a_year_of_silence_does_not_make_a_year_of_windows():
    chain = Chain(channels(), conditions(), start_ns=0)
    year = 365 * 86400 * S
    out = push(chain, [S, year + S], [1.0, 2.0])
    assert out.windows.n.tolist() == [1, 0, 0, 0]
    assert chain.close_all(year + 2 * S).start_ns.tolist() == [year]


def test_no_window_is_lost_when_more_close_than_fit_the_buffer():
    n = 700
    chain = Chain(channels(kind=[0] * n), conditions(), start_ns=0)
    for t in (1, 61):
        out = chain.push(np.arange(n, dtype=np.int32), np.full(n, t * S), np.arange(n) * 1.0, np.zeros(n, np.uint8))
    assert out.windows.channel.tolist() == list(range(n))
    assert out.windows.mean.tolist() == list(range(n))
    assert chain.close_due(240 * S).channel.size == 3 * n
    long = push(Chain(channels(window_ns=[S]), conditions(), start_ns=0), range(0, 5000 * S, S), np.arange(5000.0))
    assert long.windows.mean.tolist() == list(range(4999))


def test_a_counter_carries_over_windows_rolls_over_and_survives_a_reset():
    chain = Chain(channels(kind=[1], rollover=[1000.0]), conditions(), start_ns=0)
    out = push(chain, [10 * S, 70 * S, 80 * S, 130 * S, 140 * S, 200 * S], [990.0, 995.0, 5.0, 7.0, 2.0, 4.0])
    assert out.windows.mean.tolist() == [0, 15, 2]
    assert out.windows.sd.tolist() == [0, 1, 0]
    assert out.windows.quality.tolist() == [0, 0, 32]


def test_a_state_is_weighed_by_time_not_by_readings():
    chain = Chain(channels(kind=[2]), conditions(), start_ns=0)
    out = push(chain, [0, 45 * S, 46 * S, 47 * S, 60 * S], [0.0, 1.0, 1.0, 1.0, 1.0])
    assert out.windows.mean.tolist() == [0.25]
    assert out.windows.sd.tolist() == [1]


def test_waveforms_pass_by():
    chain = Chain(channels(kind=[3]), conditions((0, 0, 0.0, 0.0, 0, 0)), start_ns=0)
    out = push(chain, [S, 100 * S], [1.0, 2.0])
    assert out.mark.tolist() == [0, 0]
    assert out.windows.n.size == out.changes.met.size == chain.close_all(1000 * S).n.size == 0


def test_evidence_is_the_last_raw_readings_oldest_first():
    chain = Chain(channels(high=[50.0]), conditions(), start_ns=0)
    assert chain.evidence(0, 5)[0].size == 0
    push(chain, [k * S for k in range(40)], [float(k) for k in range(40)])
    push(chain, [40 * S], [np.nan])
    push(chain, [41 * S], [99.0])  # out of range, and yet what was read
    times, values = chain.evidence(0, 3)
    assert times.tolist() == [38 * S, 39 * S, 41 * S]
    assert values.tolist() == [38, 39, 99]
    assert chain.evidence(0, 100)[0].size == 32


def test_a_condition_is_met_after_its_hold_and_cleared_below_its_own_level():
    chain = Chain(channels(), conditions((0, 0, 75.0, 35.0, 10 * S, 5 * S)), start_ns=0)
    t = [k * S for k in range(0, 60, 5)]
    out = push(chain, t, [80, 80, 60, 80, 80, 80, 50, 30, 30, 30, 80, 80])
    change = out.changes
    assert change.met.tolist() == [1, 0]
    assert change.since_ns.tolist() == [15 * S, 35 * S]
    assert change.time_ns.tolist() == [25 * S, 40 * S]
    assert change.value.tolist() == [80, 30]


def test_a_reading_without_a_number_neither_breaks_nor_meets_a_condition():
    chain = Chain(channels(), conditions((0, 0, 75.0, 75.0, 10 * S, 0)), start_ns=0)
    push(chain, [0], [80.0])
    assert push(chain, [5 * S], [np.nan]).changes.met.size == 0
    assert push(chain, [6 * S], [1.0], quality=160).changes.met.size == 0
    assert push(chain, [10 * S], [80.0]).changes.since_ns.tolist() == [0]


def test_a_standing_alarm_is_not_raised_again_after_a_restart():
    chain = Chain(channels(), conditions((0, 0, 75.0, 35.0, 0, 0)), start_ns=0)
    chain.restore_condition(0, True, -100 * S)
    assert push(chain, [S], [80.0]).changes.met.size == 0
    assert push(chain, [2 * S], [30.0]).changes.met.tolist() == [0]


def test_an_alert_that_stood_before_a_restart_clears_once_and_then_may_come_again():
    chain = Chain(channels(detector=[2]), conditions(), start_ns=0)
    chain.restore_alert(0)
    noise = np.random.default_rng(3).normal(20.0, 0.1, 400)
    first = push(chain, range(0, 400 * S, S), noise).alerts
    assert first.onset.tolist() == [0]
    again = push(chain, range(400 * S, 440 * S, S), np.full(40, 60.0)).alerts
    assert again.onset.tolist()[:1] == [1]


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (lambda: Chain(channels(window_ns=[0]), conditions(), start_ns=0), "window"),
        (lambda: Chain(channels(), conditions((1, 0, 0.0, 0.0, 0, 0)), start_ns=0), "exist"),
        (
            lambda: Chain(channels(kind=[0, 0]), conditions((1, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0)), start_ns=0),
            "sorted",
        ),
        (lambda: Chain(channels()._replace(low=np.zeros(2)), conditions(), start_ns=0), "differ"),
        (lambda: Chain(channels(), conditions(), start_ns=2**63 - 1), "century"),
    ],
)
def test_parameters_that_cannot_be_are_refused(broken, word):
    with pytest.raises(ValueError, match=word):
        broken()


def test_columns_are_checked_and_converted_at_the_rim():
    chain = Chain(channels(), conditions(), start_ns=0)
    with pytest.raises(IndexError, match="channel 7"):
        push(chain, [1], [1.0], channel=7)
    with pytest.raises(IndexError, match="channel -1"):
        push(chain, [1], [1.0], channel=-1)
    with pytest.raises(ValueError, match="one length"):
        chain.push(np.zeros(2, np.int32), np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="one dimension"):
        chain.push(np.zeros((1, 1)), np.zeros(1), np.zeros(1), np.zeros(1))
    frozen = np.array([2.0, 9.0, 4.0])[::2]
    frozen.flags.writeable = False
    chain.push([0, 0], np.array([S, 2 * S], ">i8"), frozen, [0, 0])
    assert chain.close_all(3 * S).mean.tolist() == [3]


def test_state_is_small_and_kernels_warm():
    n = 100
    chain = Chain(channels(kind=[0] * n), conditions(), start_ns=0)
    assert chain.nbytes / n <= 4096
    assert warm() >= 0


def test_looking_at_open_windows_changes_nothing():
    """`open_windows` gives what `close_all` would, and the chain goes on as if nobody had looked."""
    rng = np.random.default_rng(5)
    looked = Chain(channels(), conditions(), start_ns=0)
    left = Chain(channels(), conditions(), start_ns=0)
    for i in range(40):
        times, values = [i * 10**8], [rng.normal(10, 1)]
        push(looked, times, values)
        push(left, times, values)
        seen = looked.open_windows(i * 10**8 + 1)
    last = left.close_all(39 * 10**8 + 1)
    assert last.n.tolist() == [40]
    for got, again, wanted in zip(seen, looked.close_all(39 * 10**8 + 1), last, strict=True):
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(again, wanted)


def test_windows_carry_what_merging_needs():
    c = Chain(channels(), conditions(), start_ns=0)
    values = np.arange(50.0)
    push(c, np.arange(50) * S, values)
    w = c.close_all(60 * S)
    assert [w.p05[0], w.p25[0], w.p75[0]] == pytest.approx(np.quantile(values, (0.05, 0.25, 0.75)).tolist())
