"""Slow plain references of the kernels: lists and numpy, one reading at a time, written from the definitions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from plain_detectors import PlainSurprise

RANGE, STEP, SPIKE, STALE, MISSING = 1, 2, 4, 8, 16


class PlainHampel:
    def __init__(self) -> None:
        self.seen: list[float] = []
        self.power = 0.0
        self.quantum = 0.0

    def push(self, x: float) -> int:
        quantum = self.quantum
        if self.seen and x != self.seen[-1]:
            step = abs(x - self.seen[-1])
            self.quantum = min(min(step, quantum or step), 1e150)
        self.seen.append(x)
        last = sorted(self.seen[-11:])
        if len(last) < 11:
            return 0
        median = last[len(last) // 2]
        mad = sorted(abs(v - median) for v in last)[len(last) // 2]
        limit = max(3 * 1.4826 * mad, 3 * math.sqrt(self.power), 2 * quantum)
        far = abs(x - median)
        counted = limit if far > limit > 0 else far
        if counted < 1e150:
            self.power += (counted**2 - self.power) / 128
        return SPIKE if far > limit else 0


@dataclass
class PlainCondition:
    op: int
    threshold: float
    clear: float
    hold: int
    clear_hold: int
    met: bool = False
    run: list[int] = field(default_factory=list)

    def push(self, t: int, x: float) -> tuple[bool, int] | None:
        true = {
            0: x >= self.threshold,
            1: x <= self.threshold,
            2: abs(x) < 2**53 and int(x) & int(self.threshold) != 0,
            3: x == self.threshold,
            4: x != self.threshold,
        }[self.op]
        wanted = {0: x < self.clear, 1: x > self.clear}.get(self.op, not true) if self.met else true
        if not wanted:
            self.run = []
            return None
        if self.run and t < self.run[0]:
            self.run = []
        self.run.append(t)
        since = self.run[0]
        if t - since < (self.clear_hold if self.met else self.hold):
            return None
        self.met, self.run = not self.met, []
        return self.met, since


@dataclass
class PlainChannel:
    """One channel of the chain, its detector that of level shifts. `windows` holds a dict a closed window."""

    kind: int
    filter: int
    detector: int
    low: float
    high: float
    step: float
    rollover: float
    window: int
    period: int
    start: int
    align: int
    conditions: list[PlainCondition] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = (self.start + self.align) // self.window * self.window - self.align + self.window
        self.rows: list[tuple[int, float, int, int]] = []  # time, value, quality, mark
        self.missing: list[int] = []
        self.last_t: int | None = None
        self.last_x: float | None = None
        self.hampel, self.judge = PlainHampel(), PlainSurprise("level")
        self.known: tuple[int, float] | None = None  # last forward reading of a counter or state
        self.carried = self.known
        self.windows: list[dict[str, float]] = []
        self.alerts: list[tuple[int, bool]] = []
        self.changes: list[tuple[int, int, bool, int]] = []

    def push(self, t: int, x: float, q: int) -> int:
        self.close_until(t)
        if q >= 128 or not math.isfinite(x):
            self.missing.append(max(q, 128))
            return MISSING
        mark = STALE if self.last_t is not None and t <= self.last_t else 0
        gap = self.last_t is not None and self.period > 0 and t - self.last_t > 8 * self.period
        self.last_t = t
        if not self.low <= x <= self.high:
            mark |= RANGE
        else:
            falls = self.kind == 1 and self.last_x is not None and x < self.last_x
            if self.last_x is not None and not falls and abs(x - self.last_x) > self.step:
                mark |= STEP
            self.last_x = x
        if self.kind == 0 and not mark & (RANGE | STALE):
            if self.filter:
                mark |= self.hampel.push(x)
            if self.detector and (word := self.judge.push((t + self.align) / 1e9, x, gap)):
                self.alerts.append((t, word == "onset"))
        self.rows.append((t, x, q, mark))
        for j, condition in enumerate(self.conditions):
            if change := condition.push(t, x):
                self.changes.append((j, t, *change))
        return mark

    def close_until(self, t: int) -> None:
        for _ in range(4):
            if t < self.end:
                return
            self.close(self.end)
            self.start, self.end = self.end, self.end + self.window
        if t >= self.end:
            self.start = (t + self.align) // self.window * self.window - self.align
            self.end = self.start + self.window

    def close(self, end: int) -> None:
        good = [x for _, x, _, mark in self.rows if not mark & RANGE]
        qualities = [q for _, _, q, _ in self.rows] + self.missing + [0]
        qualities += [64 for *_, mark in self.rows if mark & RANGE]
        qualities += [32 for *_, mark in self.rows if mark & (STEP | SPIKE)]
        due = (end - self.start + self.period // 2) // self.period if self.period else 0
        row: dict[str, float] = {
            "start_ns": self.start,
            "end_ns": end,
            "n": len(self.rows),
            "expected": max(due, len(self.rows) + len(self.missing)),
            "last_ns": self.rows[-1][0] if self.rows else 0,
            "min": min(good, default=math.nan),
            "max": max(good, default=math.nan),
            "first": good[0] if good else math.nan,
            "last": good[-1] if good else math.nan,
        }
        forward = [(t, x) for t, x, _, mark in self.rows if not mark & (RANGE | STALE)]
        mean, sd, resets = self._carry(forward, end)
        if self.kind == 0 and good:
            mean, sd = float(np.mean(good)), float(np.std(good))
        row["mean"], row["sd"] = (mean, sd) if good else (math.nan, math.nan)
        exact = self.kind == 0 and good
        row["p50"], row["p95"] = np.quantile(good, [0.5, 0.95]) if exact else (math.nan, math.nan)
        row["quality"] = max(qualities + [32] * resets)
        self.windows.append(row)
        self.rows, self.missing = [], []

    def _carry(self, forward: list[tuple[int, float]], end: int) -> tuple[float, float, int]:
        """(delta, rollovers, resets) of a counter, (share of time, changes, 0) of a state."""
        path = ([self.known] if self.known else []) + forward
        if path:
            self.known = path[-1]
        if self.kind == 1:
            delta, rollovers, resets = 0.0, 0, 0
            for (_, a), (_, b) in pairwise(path):
                if b >= a:
                    delta += b - a
                elif math.isfinite(self.rollover) and a - b > self.rollover / 2 and b - a + self.rollover >= 0:
                    delta += b - a + self.rollover
                    rollovers += 1
                else:
                    resets += 1
            return delta, rollovers, resets
        if self.kind == 2:
            spans = [
                (max(0, min(b[0], end) - max(a[0], self.start)), a[1])
                for a, b in zip(path, [*path[1:], (end, 0.0)], strict=False)
            ]
            total = sum(s for s, _ in spans)
            changes = sum(a[1] != b[1] for a, b in pairwise(path))
            last = self.rows[-1][1] if self.rows else 0.0
            return (sum(s for s, x in spans if x) / total if total else float(last != 0)), changes, 0
        return math.nan, math.nan, 0
