"""The default detector: quiet on noise, awake for changes, safe on odd series."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from plain_fastpath import PlainDetector
from test_chain import S, channels, conditions, push

from fastpath.chain import Chain

NAB = Path(__file__).parents[3] / "shared" / "data" / "nab"


def alerts(values, period_s=1, times=None):
    """(index, onset) of every alert."""
    chain = Chain(channels(detector=[1], period_ns=[period_s * S]), conditions(), start_ns=0)
    times = [(k + 1) * period_s * S for k in range(len(values))] if times is None else times
    out = push(chain, times, values).alerts
    place = {t: k for k, t in enumerate(times)}
    return [(place[t], bool(o)) for t, o in zip(out.time_ns.tolist(), out.onset, strict=True)]


def autoregressive(rng, n, phi):
    x = rng.normal(size=n)
    for k in range(1, n):
        x[k] += phi * x[k - 1]
    return x


NOISE = {
    "gaussian": lambda rng, n: rng.normal(size=n),
    "ar 0.5": lambda rng, n: autoregressive(rng, n, 0.5),
    "ar 0.9": lambda rng, n: autoregressive(rng, n, 0.9),
    "day at 5 min": lambda rng, n: 20 * np.sin(np.arange(n) * 2 * np.pi / 288) + rng.normal(size=n),
    "quantised": lambda rng, n: np.round(0.4 * rng.normal(size=n)),
    "counts": lambda rng, n: rng.poisson(2, size=n).astype(float),
    "constant": lambda rng, n: np.full(n, 7.0),
    "rare pulses": lambda rng, n: (rng.random(n) < 0.01).astype(float),
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_raises_nothing(kind):
    assert alerts(NOISE[kind](np.random.default_rng(21), 5000)) == []


def test_heavy_tails_are_learnt():
    found = [k for k, onset in alerts(np.random.default_rng(27).standard_t(4, size=20_000)) if onset]
    assert len([k for k in found if k >= 10_000]) <= 1


@pytest.mark.parametrize(("size", "within"), [(4, 30), (8, 10)])
def test_a_level_shift_is_found_and_clears_by_itself(size, within):
    x = np.random.default_rng(22).normal(size=3000)
    x[1500:] += size
    found = alerts(x)
    assert found[0][1]
    assert 1500 <= found[0][0] < 1500 + within
    assert found[1] == (found[1][0], False)
    assert len(found) % 2 == 0


def test_a_spike_is_found_at_its_reading():
    x = np.random.default_rng(23).normal(size=1500)
    x[1000] = 12.0
    found = alerts(x)
    assert found[0] == (1000, True)
    assert [onset for _, onset in found] == [True, False]


def test_a_huge_shift_is_accepted_after_a_while():
    x = np.random.default_rng(24).normal(size=2500)
    x[1000:] += 1e6
    found = alerts(x)
    assert [onset for _, onset in found] == [True, False]
    assert found[1][0] < 1500


def test_the_first_reading_after_a_gap_is_not_judged():
    x = np.random.default_rng(25).normal(size=600)
    x[500] = 40.0
    t = [(k + 1) * S + (3600 * S if k >= 500 else 0) for k in range(600)]
    assert alerts(x, times=t) == []
    assert alerts(x)[0] == (500, True)


def test_the_past_does_not_change_when_more_comes():
    x = np.random.default_rng(26).normal(size=1200)
    x[700] = 15.0
    assert alerts(x[:900]) == [a for a in alerts(x) if a[0] < 900]


@pytest.mark.parametrize("seed", [31, 32])
def test_it_agrees_with_the_plain_reference(seed):
    rng = np.random.default_rng(seed)
    x = autoregressive(rng, 2500, 0.6)
    x[800:] += 9
    x[1700:1720] -= 15
    x[2100] += 1e5
    plain = PlainDetector()
    expected = [(k, word == "onset") for k, v in enumerate(x) if (word := plain.push(float(v), False))]
    assert alerts(x) == expected
    assert len(expected) >= 4


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
        onsets = [when[k] for k, onset in alerts([float(r["value"]) for r in rows], 300) if onset]
        spans = [tuple(map(datetime.fromisoformat, w)) for w in labels[f"realTraffic/{name}.csv"]]
        windows += len(spans)
        hit += sum(any(a <= t <= b for t in onsets) for a, b in spans)
        outside += sum(not any(a <= t <= b for a, b in spans) for t in onsets)
    assert windows == 5
    assert hit >= 4
    assert outside <= 1
