"""Inductive loops: vehicles, their edges, stuck, chattering and open loops, drift, crosstalk; plain references of the
shape kernels; and recorded waveforms."""

from __future__ import annotations

import csv
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.loop import LoopBank
from fastpath.loop_shape import crossing, delay, hump, likeness
from fastpath.loop_state import CHATTER_CLEAR, CHATTER_ON, DOUBTFUL, OPEN_CLEAR, OPEN_ON, STUCK_CLEAR, STUCK_ON, VEHICLE

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "loops"
RATE = 100.0


def waveform(n, *vehicles, base=0.0, noise=0.005, seed=1, rise=12):
    """n samples; a vehicle is (first, last, height): up within `rise` samples, a plateau, and down."""
    x = base + np.random.default_rng(seed).normal(size=n) * noise
    at = np.arange(n)
    for first, last, height in vehicles:
        inside = np.minimum(np.clip((at - first) / rise, 0, 1), np.clip((last - at) / rise, 0, 1))
        x += height * (1 - np.cos(np.pi * inside)) / 2
    return x


def push(bank, *loops):
    rows = bank.push(np.column_stack(loops))
    return [(int(k), int(c), float(a), float(b)) for k, c, a, b, *_ in zip(*rows, strict=True)]


def kinds(rows):
    return [row[0] for row in rows]


def near(row, wanted, slack=4):
    return row[:2] == wanted[:2] and all(abs(a - b) <= slack for a, b in zip(row[2:], wanted[2:], strict=True))


def test_a_vehicle_has_its_on_and_off_and_peak():
    bank = LoopBank(1, RATE)
    rows = bank.push(waveform(600, (200, 260, 2.5), (400, 440, 0.3)).reshape(-1, 1))
    assert rows.kind.tolist() == [VEHICLE, VEHICLE]
    assert abs(rows.on - [200, 400]).max() <= 4
    assert abs(rows.off - [260, 440]).max() <= 4
    assert abs(rows.peak - [2.5, 0.3]).max() < 0.1
    assert (rows.rise > rows.on).all()
    assert (rows.steep > rows.rise).all()
    assert (rows.fall < rows.off).all()
    assert bank.vehicles.tolist() == [2]
    assert abs(bank.occupied_samples[0] - 100) < 15
    assert bank.occupied.tolist() == [0]


def test_cutting_the_stream_anywhere_changes_nothing():
    x = waveform(900, (200, 260, 2.5), (400, 430, 0.3), (600, 700, 1.2))
    whole = push(LoopBank(1, RATE), x)
    bank = LoopBank(1, RATE)
    pieces, covered = [], [0]
    for a in range(0, 900, 7):
        pieces += push(bank, x[a : a + 7])
        covered.append(bank.occupied_samples[0])
    assert pieces == whole
    assert np.diff(covered).min() >= 0
    flat = LoopBank(1, RATE).push(x)
    assert flat.on.tolist() == [r[2] for r in whole]


@settings(deadline=None, derandomize=True, max_examples=20, database=None)
@given(
    rate=st.sampled_from([100.0, 130.0, 250.0, 500.0]),
    seconds=st.floats(0.2, 4.0),
    height=st.floats(0.15, 4.0),
    hertz=st.sampled_from([50.0, 60.0]),
    pickup=st.floats(0.0, 0.03),
)
def test_any_rate_height_and_duration_is_one_vehicle_at_its_time(rate, seconds, height, hertz, pickup):
    n = round(8 * rate)
    first, last = 2 * rate, (2 + seconds) * rate
    x = waveform(n, (first, last, height), rise=0.08 * rate, noise=0.004)
    x += pickup * np.sin(2 * np.pi * hertz * np.arange(n) / rate)
    rows = push(LoopBank(1, rate), x)
    assert kinds(rows) == [VEHICLE]
    assert near(rows[0], (VEHICLE, 0, first, last), slack=0.035 * rate)


def test_the_baseline_follows_drift_but_not_a_parked_car():
    x = waveform(30_000, (10_000, 12_000, 2.0), (29_000, 29_060, 2.0)) + np.linspace(0, 0.6, 30_000)
    rows = push(LoopBank(1, RATE), x)
    assert kinds(rows) == [VEHICLE, VEHICLE]
    assert near(rows[0], (VEHICLE, 0, 10_000, 12_000), slack=8)
    assert near(rows[1], (VEHICLE, 0, 29_000, 29_060))


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="half an hour of samples: only with compiled kernels")
def test_a_car_parked_for_half_an_hour_is_one_vehicle_and_no_fault():
    x = waveform(200_000, (1000, 181_000, 2.6), (190_000, 190_060, 3.0), rise=60) + np.linspace(0, 0.4, 200_000)
    assert kinds(push(LoopBank(1, RATE), x)) == [VEHICLE, VEHICLE]


def test_noise_and_single_samples_are_no_vehicles():
    x = waveform(3000, noise=0.02)
    x[1000] += 3.0
    assert push(LoopBank(1, RATE), x) == []


def test_a_lorry_that_hardly_shows_in_the_middle_is_one_vehicle():
    x = waveform(900, (300, 350, 1.3), (380, 430, 1.1))
    x += waveform(900, (330, 400, 0.12), noise=0.0)
    rows = push(LoopBank(1, RATE), x)
    assert len(rows) == 1
    assert near(rows[0], (VEHICLE, 0, 300, 430))


def test_tailgating_cars_are_two():
    rows = push(LoopBank(1, RATE), waveform(900, (300, 350, 3.3), (362, 410, 2.8)))
    assert kinds(rows) == [VEHICLE, VEHICLE]


def test_a_level_that_jumps_and_stands_is_stuck_and_comes_free():
    x = waveform(6000, (5000, 5060, 2.0))
    x[1000:4000] += 3.0
    bank = LoopBank(1, RATE, stuck_s=5.0)
    rows = push(bank, x)
    assert kinds(rows) == [STUCK_ON, STUCK_CLEAR, VEHICLE]
    assert near(rows[0], (STUCK_ON, 0, 1000, 1500))
    assert near(rows[1], (STUCK_CLEAR, 0, 1000, 4000))


def test_jump_upon_jump_is_chatter_and_no_vehicle():
    x = waveform(6000, (5000, 5060, 2.0))
    for first in range(1000, 3000, 31):
        x[first : first + 14] += 1.0
    rows = push(LoopBank(1, RATE), x)
    assert [k for k in kinds(rows) if k != DOUBTFUL] == [CHATTER_ON, CHATTER_CLEAR, VEHICLE]
    on = next(row for row in rows if row[0] == CHATTER_ON)
    assert abs(on[2] - 1000) <= 2


def test_an_intermittently_open_loop_is_one_open_loop():
    x = waveform(9000, (500, 560, 2.0), (8500, 8560, 2.0)) + np.linspace(0, 0.3, 9000)
    for first in range(1000, 3000, 300):
        x[first : first + 120] = -20.0
    rows = push(LoopBank(1, RATE), x)
    assert kinds(rows) == [VEHICLE, OPEN_ON, OPEN_CLEAR, VEHICLE]
    assert near(rows[2], (OPEN_CLEAR, 0, 1000, 2920))


def test_what_a_neighbour_shows_is_learnt_and_taken_off():
    cars = [(1000 + 300 * k, 1060 + 300 * k, 2.0 + 0.1 * (k % 15)) for k in range(60)]
    n = 20_000
    strong = waveform(n, *cars)
    own = (12_370, 12_420, 0.3)
    weak = waveform(n, own, seed=2) + 0.06 * waveform(n, *cars, noise=0.0)
    bank = LoopBank(2, RATE)
    rows = [row for row in push(bank, strong, weak) if row[0] == VEHICLE]
    assert abs(bank.shares[1, 0] - 0.06) < 0.01
    assert bank.shares[0, 1] < 0.01
    seen = [row for row in rows if row[1] == 1 and row[2] > 3000]
    assert len(seen) == 1
    assert near(seen[0], (VEHICLE, 1, *own[:2]))
    apart = LoopBank(2, RATE, near=np.zeros((2, 2), bool))
    assert len([row for row in push(apart, strong, weak) if row[1] == 1]) > 50


def test_missing_samples_change_nothing_but_time():
    x = waveform(2000, (500, 560, 2.0), (1500, 1560, 2.0))
    x[900:1100] = np.nan
    rows = push(LoopBank(1, RATE), x)
    assert kinds(rows) == [VEHICLE, VEHICLE]
    assert near(rows[1], (VEHICLE, 0, 1500, 1560))


def test_a_record_that_begins_under_a_vehicle_finds_the_empty_loop():
    x = waveform(2000, (900, 960, 2.0), (1300, 1340, 0.4))
    x[:400] += waveform(400, (-50, 400, 2.5), noise=0.0)
    rows = [row for row in push(LoopBank(1, RATE), x) if row[2] > 500]
    assert len(rows) == 2
    assert near(rows[1], (VEHICLE, 0, 1300, 1340))


def test_a_loop_covered_through_a_restart_is_still_covered():
    before = LoopBank(1, RATE)
    before.push(waveform(300, base=0.5).reshape(-1, 1))
    [baseline] = before.baselines
    assert np.isnan(LoopBank(1, RATE).baselines[0])
    after = LoopBank(1, RATE)
    after.restore(0, baseline)
    x = waveform(900, (-50, 500, 3.0), base=0.5)
    rows = push(after, x)
    assert kinds(rows) == [VEHICLE]
    assert abs(rows[0][3] - 500) < 6


def test_it_refuses_what_cannot_be():
    for rate, threshold, stuck in ((0.0, 0.1, 1.0), (100.0, 0.0, 1.0), (100.0, 0.1, 0.0)):
        with pytest.raises(ValueError, match="positive"):
            LoopBank(1, rate, threshold, stuck)
    with pytest.raises(ValueError, match="divide"):
        LoopBank(2, RATE).push(np.zeros(3))


def test_delay_and_likeness_agree_with_their_plain_references():
    rng = np.random.default_rng(5)
    ring = 512
    for lag in (-7.3, 0.4, 12.6):
        at = np.arange(ring, dtype=float)
        lead = waveform(ring, (200, 280, 2.0), noise=0.0) + rng.normal(0, 0.002, ring)
        trail = 1.3 * np.interp(at - lag, at, lead)
        found, fit = delay(lead, trail, 190, 290, -20, 20)
        fits = []
        for k in range(-20, 21):
            a, b = lead[190:290], trail[190 + k : 290 + k]
            fits.append(a @ b / np.sqrt((a @ a) * (b @ b)))
        assert fit == pytest.approx(max(fits), abs=1e-9)
        assert abs(found - lag) < 0.15
        share, fit = likeness(lead, 0.4 * lead, 190, 290)
        assert (share, fit) == (pytest.approx(0.4), pytest.approx(1.0))
    assert likeness(np.zeros(8), np.ones(8), 0, 8) == (0.0, 0.0)
    assert np.isnan(delay(np.zeros(64), np.ones(64), 10, 20, -2, 2)[0])


def test_hump_and_crossing_agree_with_their_plain_references():
    height = waveform(400, (100, 200, 1.0), (220, 300, 2.0), noise=0.0)
    most, top = hump(height, 90, 310, 1)
    assert most == pytest.approx(height[90:210].max())
    assert height[top] == most
    level = 0.2 * most
    first = np.flatnonzero(height[90:top] < level)[-1] + 90
    wanted = first + (level - height[first]) / (height[first + 1] - height[first])
    assert crossing(height, 90, top, 1, level) == pytest.approx(wanted)
    back, there = hump(height, 310, 90, -1)
    assert back == pytest.approx(height[215:310].max())
    assert there > 215


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="there is nothing to compare without compiled kernels")
def test_the_compiled_kernel_agrees_with_its_python_source(monkeypatch):
    import fastpath.loop

    rng = np.random.default_rng(41)
    n = 4000
    loops = []
    for c in range(3):
        starts = np.sort(rng.choice(n - 400, 12, replace=False))
        x = waveform(n, *[(s, s + rng.integers(25, 90), rng.uniform(0.1, 4)) for s in starts], seed=41 + c)
        x[2000 + 300 * c : 2400 + 400 * c] += 1.5
        x += 0.3 * np.sin(np.arange(n) / 900)
        x[rng.random(n) < 0.005] = np.nan
        x[1000 + 50 * c : 1100] = -20
        loops.append(x)
    loops[2] += 0.07 * np.nan_to_num(loops[0])
    compiled = push(LoopBank(3, RATE, stuck_s=3.0), *loops)
    monkeypatch.setattr(fastpath.loop, "push_samples", fastpath.loop.push_samples.py_func)
    plain = push(LoopBank(3, RATE, stuck_s=3.0), *loops)
    assert [row[:2] for row in plain] == [row[:2] for row in compiled]
    assert np.allclose([row[2:] for row in plain], [row[2:] for row in compiled], equal_nan=True)
    assert {VEHICLE, STUCK_ON, OPEN_ON} <= set(kinds(plain))


def f1_of(name):
    """Vehicles of the bank alone, matched by overlap / union >= 0.3 on the same loop, away from faults and ends."""
    data = np.load(RECORDED / f"{name}.npz")
    rate = float(data["rate_hz"])
    lane = data["lane"]
    bank = LoopBank(len(lane), rate, near=np.abs(lane[:, None] - lane[None, :]) == 1)
    rows = bank.push(data["delta_l"] * float(data["scale"]))
    with (RECORDED / f"{name}.faults.csv").open(newline="") as file:
        faults = [(int(r["loop"]), float(r["start_s"]) - 1, float(r["end_s"]) + 1) for r in csv.DictReader(file)]
    with (RECORDED / f"{name}.vehicles.csv").open(newline="") as file:
        truth = [(int(r["loop"]), float(r["on_s"]), float(r["off_s"])) for r in csv.DictReader(file)]
    found = [(int(c), a / rate, b / rate) for k, c, a, b, *_ in zip(*rows, strict=True) if k == VEHICLE]

    def judged(vehicles):
        return [v for v in vehicles if not any(v[0] == c and v[1] < b and v[2] > a for c, a, b in faults)]

    def overlap(v, w):
        return (min(v[2], w[2]) - max(v[1], w[1])) / (max(v[2], w[2]) - min(v[1], w[1]))

    truth, found = judged(truth), judged(found)
    near = [(i, j) for i, v in enumerate(truth) for j, w in enumerate(found) if v[0] == w[0] and overlap(v, w) >= 0.3]
    pairs = sorted(((overlap(truth[i], found[j]), i, j) for i, j in near), reverse=True)
    left, right = set(), set()
    for _, i, j in pairs:
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
    seconds = len(data["delta_l"]) / rate
    surplus = sum(j not in right and w[1] > 3 and w[2] < seconds - 3 for j, w in enumerate(found))
    return 2 * len(left) / (len(left) + surplus + len(truth))


@pytest.mark.parametrize(("name", "wanted"), [("a100", 0.98), ("b500", 0.97), ("c1000", 0.98), ("d2000", 0.98)])
def test_recorded_waveforms(name, wanted):
    if not RECORDED.is_dir():
        pytest.skip("the recorded loop waveforms are not beside this repository (../shared/data/loops)")
    if numba.config.DISABLE_JIT:
        pytest.skip("millions of samples: only with compiled kernels")
    assert f1_of(name) >= wanted
