"""Inductive loops: baseline, hysteresis, stuck loops; against a plain reference and on recorded waveforms."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numba
import numpy as np
import pytest

from fastpath.loop import LoopBank

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "loops"
RATE = 100.0


def waveform(n, *vehicles, base=0.0, noise=0.01, seed=1):
    """n samples; a vehicle is (first, last, height): a half sine over that span."""
    x = base + np.random.default_rng(seed).normal(size=n) * noise
    for first, last, height in vehicles:
        span = last - first
        x[first:last] += height * np.sin(np.pi * (np.arange(span) + 0.5) / span) ** 0.5
    return x


def push(bank, *loops):
    rows = bank.push(np.column_stack(loops))
    return [(int(k), int(c), int(a), int(b)) for k, c, a, b, _ in zip(*rows, strict=True)]


def near(row, wanted, slack=5):
    return row[:2] == wanted[:2] and all(abs(a - b) <= slack for a, b in zip(row[2:], wanted[2:], strict=True))


def test_a_vehicle_has_its_on_and_off_and_peak():
    bank = LoopBank(1, RATE)
    rows = bank.push(waveform(600, (200, 260, 2.5), (400, 430, 0.3)).reshape(-1, 1))
    assert rows.kind.tolist() == [0, 0]
    assert abs(rows.on_index - [200, 400]).max() <= 4
    assert abs(rows.off_index - [260, 430]).max() <= 4
    assert abs(rows.peak - [2.5, 0.3]).max() < 0.1
    assert bank.vehicles.tolist() == [2]
    assert bank.occupied_samples.tolist() == [(rows.off_index - rows.on_index).sum()]
    assert bank.occupied.tolist() == [0]
    assert bank.threshold == 0.12


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
    assert covered[-1] == sum(off - on for _, _, on, off in whole)
    flat = LoopBank(1, RATE).push(x)
    assert flat.on_index.tolist() == [r[2] for r in whole]


def test_the_baseline_follows_drift_but_not_a_parked_car():
    x = waveform(30_000) + np.linspace(0, 0.6, 30_000)
    x[10_000:12_000] += 2.0
    x[29_000:29_060] += 2.0
    rows = push(LoopBank(1, RATE), x)
    assert len(rows) == 2
    assert near(rows[0], (0, 0, 10_000, 12_000))
    assert near(rows[1], (0, 0, 29_000, 29_060))


def test_noise_and_single_samples_are_no_vehicles():
    x = waveform(3000, noise=0.02)
    x[1000] += 3.0
    assert push(LoopBank(1, RATE), x) == []


def test_a_stuck_loop_is_told_at_its_very_sample_and_clears():
    x = waveform(2000)
    x[500:1500] += 2.0
    bank = LoopBank(1, RATE, stuck_s=3.0)
    rows = push(bank, x)
    assert [r[0] for r in rows] == [1, 2, 0]
    on = rows[0][2]
    assert abs(on - 500) <= 3
    assert rows[0][3] == on + 300 - 1
    assert rows[1][2:] == rows[2][2:]
    assert abs(rows[2][3] - 1500) <= 3
    early = LoopBank(1, RATE, stuck_s=3.0)
    assert push(early, x[: on + 299]) == []
    assert push(early, x[on + 299 : on + 300]) == rows[:1]
    assert early.occupied.tolist() == [1]


def test_missing_samples_and_an_open_circuit_change_nothing():
    x = waveform(1500, (200, 260, 2.5), (1200, 1260, 2.5))
    x[230:233] = np.nan
    x[500:900] = -20.0
    rows = push(LoopBank(1, RATE), x)
    assert len(rows) == 2
    assert near(rows[0], (0, 0, 200, 260))
    assert near(rows[1], (0, 0, 1200, 1260))


def test_what_a_neighbour_shows_is_learnt_and_taken_off():
    spans = [(k, k + 40, 3.5) for k in range(200, 20_000, 200)]
    own = waveform(20_000, *spans, seed=2)
    shown = waveform(20_000, *[(a, b, 0.06 * h) for a, b, h in spans], seed=3)
    shown[19_860:19_890] += 0.3  # and a motorcycle of its own
    bank = LoopBank(2, RATE)
    rows = push(bank, own, shown)
    assert len([r for r in rows if r[1] == 0]) == len(spans)
    there = [r for r in rows if r[1] == 1 and r[2] > 10_000]
    assert len(there) == 1
    assert near(there[0], (0, 1, 19_860, 19_890))


def test_settings_that_cannot_be_are_refused():
    for broken in ({"rate_hz": 0.0}, {"rate_hz": math.nan}, {"threshold_pct": -1.0}, {"stuck_s": 0.0}):
        with pytest.raises(ValueError, match="positive"):
            LoopBank(**({"loops": 1, "rate_hz": 100.0} | broken))
    with pytest.raises(ValueError, match="divide"):
        LoopBank(2, 100.0).push(np.zeros(3))


class PlainLoops:
    """The same rules spelt out, one sample of all loops at a time."""

    def __init__(self, loops, rate, threshold=0.12, stuck_s=120.0):
        self.threshold = threshold
        self.alpha = {
            name: 1 - math.exp(-1 / (rate * s)) for name, s in (("smooth", 0.008), ("follow", 2.0), ("cross", 10.0))
        }
        self.on_run, self.off_run = max(1, round(0.04 * rate)), max(1, round(0.02 * rate))
        self.standing, self.stuck = max(1, round(5 * rate)), max(1, round(stuck_s * rate))
        self.loops = [
            {"base": None, "level": 0.0, "on": None, "run": [], "again": 0.0, "stands": False} for _ in range(loops)
        ]
        self.share = np.zeros((loops, loops))
        self.now = -1
        self.rows = []

    def height(self, c):
        loop = self.loops[c]
        return loop["level"] - (loop["base"] or 0.0)

    def push(self, samples):
        self.now += 1
        for c, x in enumerate(samples):
            loop = self.loops[c]
            if math.isfinite(x) and abs(x) < 1e6:
                if loop["base"] is None:
                    loop["base"] = loop["level"] = x
                if x - loop["base"] > -5.0:
                    loop["level"] += self.alpha["smooth"] * (x - loop["level"])
                    self.one(c, loop)
            if loop["on"] is not None and not loop["stands"] and self.now + 1 - loop["on"] >= self.stuck:
                loop["stands"] = True
                self.rows.append((1, c, loop["on"], self.now))

    def one(self, c, loop):
        strong = [b for b in range(len(self.loops)) if b != c and self.height(b) >= 1.0]
        shown = max([self.share[c, b] * self.height(b) for b in strong], default=0.0)
        moving = [b for b in strong if self.loops[b]["on"] is None or self.now - self.loops[b]["on"] < self.standing]
        if len(moving) == 1:
            b = moving[0]
            share = self.height(c) / self.height(b)
            if share < 0.15:
                step = self.alpha["cross"] if share > self.share[c, b] else -self.alpha["cross"]
                self.share[c, b] = min(max(self.share[c, b] + step, 0.0), 0.15)
        height = self.height(c) - shown
        if loop["on"] is not None:
            loop["peak"] = max(loop["peak"], height)
            end = max(0.5 * self.threshold, 0.06 * loop["peak"])
            loop["run"] = [] if height >= end else [*loop["run"], self.now]
            if len(loop["run"]) >= self.off_run:
                off = loop["run"][0]
                self.rows += [(2, c, loop["on"], off)] * loop["stands"] + [(0, c, loop["on"], off)]
                loop.update(on=None, run=[], stands=False, again=1.5 * end)
            return
        if height < 0.5 * self.threshold:
            loop["again"] = 0.0
        if height < max(self.threshold, loop["again"]):
            loop["run"] = []
            if not moving:
                loop["base"] += self.alpha["follow"] * height
            return
        loop["run"].append(self.now)
        loop["peak"] = height if len(loop["run"]) == 1 else max(loop["peak"], height)
        if len(loop["run"]) >= self.on_run:
            loop.update(on=loop["run"][0], run=[])


@pytest.mark.parametrize("seed", [41, 42])
def test_it_agrees_with_the_plain_reference(seed):
    rng = np.random.default_rng(seed)
    n = 6000
    loops = []
    for c in range(3):
        starts = np.sort(rng.choice(n - 400, 25, replace=False))
        x = waveform(n, *[(s, s + rng.integers(3, 80), rng.uniform(0.05, 4)) for s in starts], seed=seed + c)
        x[3000 + 300 * c : 3400 + 500 * c] += 1.5
        x += 0.3 * np.sin(np.arange(n) / 900)
        x[rng.random(n) < 0.005] = np.nan
        x[1000 + 50 * c : 1100] = -20
        loops.append(x)
    loops[2] += 0.07 * np.nan_to_num(loops[0])
    plain = PlainLoops(3, RATE, stuck_s=4.0)
    for samples in np.column_stack(loops):
        plain.push(samples)
    assert push(LoopBank(3, RATE, stuck_s=4.0), *loops) == plain.rows
    assert {r[0] for r in plain.rows} == {0, 1, 2}


def f1_of(name):
    """Vehicles matched by overlap / union >= 0.3 on the same loop, away from faults and from the record's ends."""
    data = np.load(RECORDED / f"{name}.npz")
    rate = float(data["rate_hz"])
    rows = LoopBank(data["delta_l"].shape[1], rate).push(data["delta_l"] * float(data["scale"]))
    with (RECORDED / f"{name}.faults.csv").open(newline="") as file:
        faults = [(int(r["loop"]), float(r["start_s"]) - 1, float(r["end_s"]) + 1) for r in csv.DictReader(file)]
    with (RECORDED / f"{name}.vehicles.csv").open(newline="") as file:
        truth = [(int(r["loop"]), float(r["on_s"]), float(r["off_s"])) for r in csv.DictReader(file)]
    found = [(int(c), a / rate, b / rate) for k, c, a, b, _ in zip(*rows, strict=True) if k == 0]

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


@pytest.mark.parametrize(("name", "wanted"), [("a100", 0.98), ("b500", 0.93), ("c1000", 0.98), ("d2000", 0.96)])
def test_recorded_waveforms(name, wanted):
    if not RECORDED.is_dir():
        pytest.skip("the recorded loop waveforms are not beside this repository (../shared/data/loops)")
    if numba.config.DISABLE_JIT:
        pytest.skip("millions of samples: only with compiled kernels")
    assert f1_of(name) >= wanted


def test_a_loop_covered_through_a_restart_is_stuck_and_comes_free():
    before = LoopBank(1, 100.0, stuck_s=2.0)
    before.push(np.full((300, 1), 0.5))
    [baseline] = before.baselines
    assert np.isnan(LoopBank(1, 100.0).baselines[0])
    after = LoopBank(1, 100.0, stuck_s=2.0)
    after.restore(0, baseline)
    assert after.push(np.full((300, 1), 3.5)).kind.tolist() == [1]
    assert after.push(np.full((300, 1), 0.5)).kind.tolist() == [2, 0]
