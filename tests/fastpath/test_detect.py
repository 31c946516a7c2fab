"""The default detector: quiet on noise, awake for changes, safe on odd series."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_detect import PlainDetector
from test_chain import S, channels, conditions, push

from fastpath import detect, novelty
from fastpath.chain import Chain

NAB = Path(__file__).parents[3] / "shared" / "data" / "nab"
MINUTE, DAY = 60 * S, 86400 * S
MONDAY = 4 * DAY  # 1970-01-05
compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="long series, only for compiled kernels")


def judged(values, period_s=1, times=None, align=0, start=0):
    """(what the chain pushed, index of each reading by its time)."""
    chain = Chain(channels(detector=[1], period_ns=[period_s * S]), conditions(), start_ns=start, align_ns=align)
    times = [start + (k + 1) * period_s * S for k in range(len(values))] if times is None else times
    return push(chain, times, values), {t: k for k, t in enumerate(times)}


def alerts(values, period_s=1, times=None, **more):
    """(index, onset) of every alert."""
    out, place = judged(values, period_s, times, **more)
    return [(place[t], bool(o)) for t, o in zip(out.alerts.time_ns.tolist(), out.alerts.onset, strict=True)]


def onsets(values, *args, **more):
    return [k for k, onset in alerts(values, *args, **more) if onset]


def autoregressive(rng, n, phi):
    x = rng.normal(size=n)
    for k in range(1, n):
        x[k] += phi * x[k - 1]
    return x


def daily(n):
    """One round a day at a reading a minute."""
    return np.sin(np.arange(n) * 2 * np.pi / 1440)


NOISE = {
    "gaussian": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.random(n),
    "ar 0.5": lambda rng, n: autoregressive(rng, n, 0.5),
    "ar 0.9": lambda rng, n: autoregressive(rng, n, 0.9),
    "ar 0.99": lambda rng, n: autoregressive(rng, n, 0.99),
    "random walk": lambda rng, n: np.cumsum(rng.normal(size=n)),
    "daily": lambda rng, n: 20 * daily(n) + rng.normal(size=n),
    "on by day": lambda rng, n: 50 * (daily(n) > 0) + rng.normal(size=n),
    "daily counts": lambda rng, n: rng.poisson(5 + 4 * daily(n)).astype(float),
    "quantised": lambda rng, n: np.round(0.4 * rng.normal(size=n)),
    "counts": lambda rng, n: rng.poisson(2, size=n).astype(float),
    "rare pulses": lambda rng, n: (rng.random(n) < 0.01).astype(float),
    "student": lambda rng, n: rng.standard_t(4, size=n),
    "lognormal": lambda rng, n: np.exp(rng.normal(size=n)),
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_raises_little_while_it_is_learnt(kind):
    assert len(onsets(NOISE[kind](np.random.default_rng(21), 4000), 60)) <= 8


@compiled
@pytest.mark.parametrize("kind", NOISE)
def test_a_channel_that_keeps_its_habits_grows_quiet(kind):
    """100,000 readings, ten weeks at one a minute: few onsets, and fewer the longer it is known."""
    found = onsets(NOISE[kind](np.random.default_rng(22), 100_000), 60)
    assert len(found) <= 20
    assert len([k for k in found if k >= 10_000]) <= 9


def test_a_constant_series_raises_nothing():
    assert alerts(np.full(5000, 7.0)) == []


@pytest.mark.parametrize("size", [4, 8, -6])
def test_a_level_shift_is_found_and_clears_by_itself(size):
    x = np.random.default_rng(22).normal(size=4500)
    x[1500:] += size
    found = [a for a in alerts(x) if a[0] >= 1400]
    assert found[0][1]
    assert 1500 <= found[0][0] < 1510
    assert found[1] == (found[1][0], False)
    assert len(found) % 2 == 0
    assert len(found) <= 8


def test_a_spike_is_found_at_its_reading():
    x = np.random.default_rng(23).normal(size=1500)
    x[1000] = 12.0
    found = [a for a in alerts(x) if a[0] >= 900]
    assert [onset for _, onset in found] == [True, False]
    assert found[0][0] == 1000
    assert 1016 <= found[1][0] <= 1020


def test_what_came_back_is_no_news():
    """A spike of the same size every day is reported in the first days, hardly in the second and third week."""
    x = np.random.default_rng(28).normal(size=21 * 1440)
    x[700::1440] += 30
    found = onsets(x, 60)
    assert 700 in found
    assert len([k for k in found if k >= 7 * 1440]) <= 3


def test_a_stuck_gauge_and_a_slow_drift_are_found():
    rng = np.random.default_rng(24)
    stuck = rng.normal(size=2500)
    stuck[1500:] = stuck[1499]
    assert any(1500 < k < 1600 for k in onsets(stuck))
    drift = rng.normal(size=2500)
    drift[1500:1900] += np.linspace(0, 6, 400)
    assert any(1500 < k < 1900 for k in onsets(drift))


def test_more_noise_and_a_lost_day_are_found():
    rng = np.random.default_rng(25)
    noisy = rng.normal(size=2500)
    noisy[1500:1600] *= 4
    assert any(1500 <= k < 1600 for k in onsets(noisy))
    days = 50 * (np.arange(14 * 288) % 288 > 144) + rng.normal(size=14 * 288)
    days[9 * 288 : 10 * 288] = rng.normal(size=288)
    assert any(9 * 288 + 140 < k < 10 * 288 for k in onsets(days, 300))


@pytest.mark.parametrize("shift_h", [0, 9])
def test_a_quiet_day_off_is_normal_on_sunday_and_not_on_wednesday(shift_h):
    """The hour and the kind of day come from the time plus what makes it UTC."""

    def days(off):
        x = np.random.default_rng(27).normal(size=28 * 288)
        for day in range(28):
            if day % 7 < 5 and day != off:
                x[day * 288 + 100 : day * 288 + 220] += 40
        return x

    def found(off):
        align = shift_h * 3600 * S
        return [k for k in onsets(days(off), 300, align=align, start=MONDAY - align) if k >= 14 * 288]

    assert found(None) == []
    assert any(23 * 288 + 100 <= k < 23 * 288 + 230 for k in found(23))


def test_a_huge_shift_is_accepted_after_a_while():
    x = np.random.default_rng(24).normal(size=4000)
    x[1000:] += 1e6
    found = [a for a in alerts(x) if a[0] >= 1000]
    assert found[0] == (1000, True)
    assert found[1][1] is False
    assert found[1][0] <= 2000


def test_one_glitch_does_not_blind_a_channel():
    x = np.random.default_rng(26).normal(size=9000)
    x[2000] = 1e12
    x[8000:] += 20
    found = onsets(x)
    assert 2000 in found
    assert any(8000 <= k < 8010 for k in found)


def test_the_first_reading_after_a_gap_is_not_judged():
    x = np.random.default_rng(25).normal(size=600)
    x[500] = 40.0
    t = [(k + 1) * S + (3600 * S if k >= 500 else 0) for k in range(600)]
    assert 500 in onsets(x)
    assert onsets(x, times=t) == [k for k in onsets(x) if k < 500]


def test_a_score_reaches_the_threshold_at_onsets_and_nowhere_else():
    x = np.random.default_rng(29).normal(size=3000)
    x[1000:1200] += 7
    x[2000] -= 30
    out, place = judged(x)
    at = [place[t] for t, o in zip(out.alerts.time_ns.tolist(), out.alerts.onset, strict=True) if o]
    assert at == np.nonzero(out.score >= detect.ONSET_SCORE)[0].tolist()
    assert len(at) >= 2
    assert out.alerts.score[0] == out.score[at[0]]


def test_the_past_does_not_change_when_more_comes():
    x = np.random.default_rng(26).normal(size=1200)
    x[700] = 15.0
    assert alerts(x[:900]) == [a for a in alerts(x) if a[0] < 900]


def test_a_restored_alarm_stands_and_clears():
    chain = Chain(channels(detector=[1]), conditions(), start_ns=0)
    chain.restore_alert(0)
    out = push(chain, [k * S for k in range(1, 101)], np.random.default_rng(3).normal(size=100))
    assert out.alerts.onset.tolist() == [0]


def test_it_is_small():
    assert detect.COLUMNS * 8 <= 1500
    assert (novelty.LAG & (novelty.LAG - 1) == 0).all()


@pytest.mark.parametrize(("seed", "period_s"), [(31, 1), (32, 300), (33, 3600)])
def test_it_agrees_with_the_plain_reference(seed, period_s):
    rng = np.random.default_rng(seed)
    x = autoregressive(rng, 2500, 0.6) + 3 * np.sin(np.arange(2500) * period_s * 2 * np.pi / 86400)
    x[800:] += 9
    x[1300:1400] = x[1299]
    x[1700:1720] -= 15
    x[2100] += 1e5
    times = [(k + 1 + (1000 if k >= 1500 else 0)) * period_s * S for k in range(2500)]
    out, place = judged(x, period_s, times)
    plain = PlainDetector()
    words, scores, expected = [], [], {}
    for k, v in enumerate(x):
        word = plain.push(times[k], float(v), gap=k == 1500)
        scores.append(plain.score)
        if word:
            words.append((k, word == "onset"))
            expected[k] = plain.expected
    found = [(place[t], bool(o)) for t, o in zip(out.alerts.time_ns.tolist(), out.alerts.onset, strict=True)]
    assert found == words
    assert len(words) >= 6
    assert out.score == pytest.approx(scores, rel=1e-6, abs=1e-9)
    assert out.alerts.expected == pytest.approx(list(expected.values()), rel=1e-6)


ODD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 1e308, -1e308, 1e150, -1e150, 5e-324, 1e-310]),
)


def test_a_higher_onset_raises_only_what_is_further_out():
    x = np.random.default_rng(5).normal(size=6000)
    x[3000], x[4500] = 9.0, 80.0
    times = np.arange(6000) * MINUTE
    found = []
    for onset in (np.nan, 6.0):
        params = channels(detector=[1], period_ns=[MINUTE], onset=[onset])
        alerts = push(Chain(params, conditions(), start_ns=0), times, x).alerts
        found.append((alerts.time_ns[alerts.onset == 1] // MINUTE).tolist())
    assert {3000, 4500} <= set(found[0]), found
    assert found[1] == [4500]


@settings(deadline=None, derandomize=True, max_examples=60, database=None)
@given(
    st.lists(ODD, min_size=1, max_size=12),
    st.lists(st.integers(-(2**61), 2**61), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_odd_values_at_odd_times_leave_finite_state_and_no_storm(values, times, seed, gaps):
    rng = np.random.default_rng(seed)
    state = np.zeros((1, detect.COLUMNS))
    raised = 0
    for k in range(200):
        t = int(rng.choice(times)) if k % 7 == 0 else k * S
        gap = gaps and bool(rng.random() < 0.1)
        verdict, score = detect.step(state, 0, t, float(rng.choice(values)), gap, 0, detect.ONSET_SCORE)
        raised += verdict == detect.ONSET
        assert 0.0 <= score <= detect.MAX_SCORE
    assert np.isfinite(state).all()
    assert raised <= 8


def test_real_traffic_is_judged_soundly():
    """NAB realTraffic: 2,500 readings a loop detector; onsets must be few and lie in the labelled windows."""
    if not NAB.is_dir():
        pytest.skip("the recorded traffic series are not beside this repository (../shared/data/nab)")
    labels = json.loads((NAB / "combined_windows.json").read_text())
    hit, windows, outside = 0, 0, 0
    for name in ("occupancy_6005", "occupancy_t4013", "speed_t4013"):
        with (NAB / "data" / "realTraffic" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        when = [datetime.fromisoformat(r["timestamp"]) for r in rows]
        times = [round(t.replace(tzinfo=UTC).timestamp()) * S for t in when]
        probation = int(0.15 * len(rows))
        found = [when[k] for k in onsets([float(r["value"]) for r in rows], 300, times) if k >= probation]
        spans = [tuple(map(datetime.fromisoformat, w)) for w in labels[f"realTraffic/{name}.csv"]]
        windows += len(spans)
        hit += sum(any(a <= t <= b for t in found) for a, b in spans)
        outside += sum(not any(a <= t <= b for a, b in spans) for t in found)
    assert windows == 5
    assert hit >= 4
    assert outside <= 3
