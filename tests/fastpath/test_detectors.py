"""The detectors chosen by name: what each finds, what leaves it cold, and that it agrees with its plain reference."""

from __future__ import annotations

import numpy as np
import pytest
from plain_detectors import PlainDrift, PlainMissing, PlainStuck, PlainSurprise
from test_chain import S, channels, conditions
from test_detect import autoregressive

from fastpath.chain import Chain

NAMES = ("level", "spike", "drift", "variance", "stuck", "missing", "seasonal", "cusum", "page_hinkley")
NUMBER = {name: 2 + k for k, name in enumerate(NAMES)}
DAY = 96  # readings a day of the slow series


def pushed(name, values, period_s=300, times=None, kind=0, **tuning):
    chain = Chain(
        channels(
            kind=[kind], detector=[NUMBER[name]], period_ns=[period_s * S], window_ns=[86400 * S],
            **{key: [value] for key, value in tuning.items()},
        ),
        conditions(), start_ns=0,
    )  # fmt: skip
    n = len(values)
    times = (np.arange(n) + 1) * period_s * S if times is None else np.array(times, np.int64)
    out = chain.push(np.zeros(n, np.int32), times, np.array(values, float), np.zeros(n, np.uint8))
    place = {t: k for k, t in enumerate(times.tolist())}
    assert set(out.alerts.detector.tolist()) <= {NUMBER[name]}
    return [(place[t], bool(o)) for t, o in zip(out.alerts.time_ns.tolist(), out.alerts.onset, strict=True)], out


def onsets(name, values, **how):
    return [k for k, onset in pushed(name, values, **how)[0] if onset]


QUIET = {
    "gaussian": lambda rng, n: rng.normal(size=n),
    "ar 0.9": lambda rng, n: autoregressive(rng, n, 0.9),
    "quantised": lambda rng, n: np.round(0.4 * rng.normal(size=n)),
    "counts": lambda rng, n: rng.poisson(2, size=n).astype(float),
    "constant": lambda rng, n: np.full(n, 7.0),
    "rare pulses": lambda rng, n: (rng.random(n) < 0.01).astype(float),
    "day at 5 min": lambda rng, n: 20 * np.sin(np.arange(n) * 2 * np.pi / 288) + rng.normal(size=n),
}


@pytest.mark.parametrize("kind", QUIET)
@pytest.mark.parametrize("name", NAMES)
def test_habits_raise_next_to_nothing(name, kind):
    allowed = 1 if (name in ("cusum", "page_hinkley") and kind.startswith("day")) else 0
    assert len(onsets(name, QUIET[kind](np.random.default_rng(41), 6000))) <= allowed


def noise(n=3000):
    return np.random.default_rng(42).normal(size=n)


def test_a_lasting_step_is_a_level_shift_and_clears_by_itself():
    x = noise()
    x[2000:] += 2
    (first, clear), _ = pushed("level", x)
    assert first[1]
    assert 2000 <= first[0] < 2040
    assert clear == (clear[0], False)


def test_a_level_shift_smaller_than_the_size_that_matters_is_none():
    x = noise()
    x[2000:] += 2
    assert onsets("level", x, size=10.0) == []


def test_a_spike_is_found_at_its_reading():
    x = noise()
    x[2000] += 12
    assert pushed("spike", x)[0] == [(2000, True), (2016, False)]


def test_a_small_lasting_offset_is_found_by_sums():
    x = noise()
    x[2000:] += 1
    for name in ("cusum", "page_hinkley"):
        assert 2000 <= onsets(name, x)[0] < 2080


def test_a_target_is_not_forgotten():
    x = noise() + 1.0
    found, _ = pushed("cusum", x, target=0.0, size=1.0)
    assert [onset for _, onset in found] == [True]
    x[1500:] -= 1.0
    found, _ = pushed("cusum", x, target=0.0, size=1.0)
    assert [onset for _, onset in found] == [True, False]


def test_more_noise_and_less_noise_are_found():
    for factor in (3.0, 0.2):
        x = noise()
        x[2000:2400] *= factor
        assert 2000 <= onsets("variance", x)[0] < 2060


def test_a_reading_that_no_longer_changes_is_stuck():
    x = np.round(noise(), 1)
    x[2000:2500] = x[2000]
    found, _ = pushed("stuck", x)
    assert 2010 <= found[0][0] < 2040
    assert 2500 <= found[1][0] < 2530


def test_stuck_goes_by_the_time_it_was_told():
    assert onsets("stuck", np.full(200, 3.0), period_s=60, span_ns=6000 * S) == [100]
    assert onsets("stuck", np.arange(2000.0) // 5, kind=1) == []


def test_missing_readings_and_silence_are_found():
    x = noise()
    x[2000:2020] = np.nan
    assert onsets("missing", x) == [2002]
    x = noise()
    x[2000:2400][np.random.default_rng(1).random(400) < 0.3] = np.inf
    assert 2000 <= onsets("missing", x)[0] < 2040
    times = np.arange(1, 3001) * 300 * S
    times[2000:] += 7 * 300 * S
    assert onsets("missing", noise(), times=times) == [2000]


def test_a_slow_trend_is_a_drift():
    n = 60 * DAY
    day = np.arange(n) / DAY
    x = 10 * np.sin(2 * np.pi * day) + np.random.default_rng(5).normal(size=n)
    assert onsets("drift", x, period_s=900) == []
    x += 0.3 * np.maximum(day - 30, 0)
    assert 31 * DAY < onsets("drift", x, period_s=900)[0] < 40 * DAY


def test_what_is_usual_at_noon_is_odd_at_midnight():
    n = 40 * DAY
    x = 10 * np.sin(2 * np.pi * np.arange(n) / DAY) + np.random.default_rng(6).normal(size=n)
    assert onsets("seasonal", x, period_s=900) == []
    x[30 * DAY : 30 * DAY + 20] += 7
    first, *_ = onsets("seasonal", x, period_s=900)
    assert 30 * DAY <= first < 30 * DAY + 20


def rough_series(rng, n):
    """Noise with steps, spikes, standing still, a gap and a quantised part, and times that repeat or step back."""
    x = autoregressive(rng, n, 0.5) + 5 * np.sin(np.arange(n) / 50)
    x[n // 4 :] += 6
    x[n // 3 : n // 3 + 120] = x[n // 3]
    x[n // 2 :] = np.round(x[n // 2 :], 1)
    x[rng.integers(0, n, 8)] += 40
    x[2 * n // 3 : 2 * n // 3 + 200] *= 4
    times = np.cumsum(rng.choice([300, 300, 300, 600], n) * S)
    times[3 * n // 4 :] += 86400 * S
    return times, x


PLAIN = {
    **{name: (lambda name=name: PlainSurprise(name)) for name in
       ("level", "spike", "variance", "seasonal", "cusum", "page_hinkley")},
    "drift": PlainDrift,
    "stuck": PlainStuck,
}  # fmt: skip


@pytest.mark.parametrize("seed", [51, 52])
@pytest.mark.parametrize("name", PLAIN)
def test_it_agrees_with_its_plain_reference(name, seed):
    rng = np.random.default_rng(seed)
    times, x = rough_series(rng, 2500 if name != "drift" else 9000)
    found, out = pushed(name, x, times=times)
    plain, expected, scores, before = PLAIN[name](), [], [], None
    for k, (t, v) in enumerate(zip(times.tolist(), x.tolist(), strict=True)):
        gap = before is not None and t - before > 8 * 300 * S
        before = t
        if word := plain.push(t / S, v, gap):
            expected.append((k, word == "onset"))
        scores.append(plain.score)
    np.testing.assert_allclose(out.score, scores, atol=0.05, rtol=1e-3)
    assert found == expected
    assert max(scores) > 2


@pytest.mark.parametrize("name", ["cusum", "page_hinkley"])
def test_sums_of_frequent_readings_agree_with_means_of_a_minute(name):
    rng = np.random.default_rng(53)
    _, x = rough_series(rng, 9000)
    times = (np.arange(9000) + 1) * 10 * S
    times[7000:] += 86400 * S
    found, out = pushed(name, x, period_s=10, times=times)
    plain, expected, scores = PlainSurprise(name, pooled=6), [], []
    for k, (t, v) in enumerate(zip(times.tolist(), x.tolist(), strict=True)):
        if word := plain.push(t / S, v, k == 7000):
            expected.append((k, word == "onset"))
        scores.append(plain.score)
    np.testing.assert_allclose(out.score, scores, atol=0.05, rtol=1e-3)
    assert found == expected
    assert found


@pytest.mark.parametrize("name", ["cusum", "page_hinkley"])
@pytest.mark.parametrize("period_s", [1, 60])
def test_sums_leave_skewed_noise_and_the_course_of_a_day_alone(name, period_s):
    days = 1 if period_s == 1 else 20
    n = days * 86400 // period_s
    rng = np.random.default_rng(54)
    assert len(onsets(name, np.exp(0.5 * rng.normal(size=n)), period_s=period_s)) <= 1
    course = 5 * np.sin(np.arange(n) * period_s * 2 * np.pi / 86400)
    assert len(onsets(name, course + rng.normal(size=n), period_s=period_s)) <= 1


@pytest.mark.parametrize("seed", [61, 62])
def test_missing_agrees_with_its_plain_reference(seed):
    rng = np.random.default_rng(seed)
    times, x = rough_series(rng, 2500)
    x[rng.random(2500) < 0.02] = np.nan
    x[1000:1030] = np.inf
    found, _ = pushed("missing", x, times=times)
    plain = PlainMissing(300.0)
    words = [plain.push(t / S, v) for t, v in zip(times.tolist(), x.tolist(), strict=True)]
    assert found == [(k, word == "onset") for k, word in enumerate(words) if word]
    assert found
