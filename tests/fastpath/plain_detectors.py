"""Slow plain references of the detectors that are chosen by name: objects and lists, written from the definitions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean


def tail(z: float) -> float:
    """-log10 of the two-sided tail of a unit Gaussian beyond 3, straight down to 0 below."""
    if z <= 3:
        return 2.5687 * z / 3
    chance = math.erfc(z / math.sqrt(2))
    return min(-math.log10(chance), 99.0) if chance > 1e-99 else 99.0


@dataclass
class PlainLatch:
    onset: float = 6.0
    active: bool = False
    quiet: int = 0
    age: int = 0

    def push(self, score: float) -> str:
        self.quiet += 1
        if not self.active:
            if score >= self.onset and self.quiet > 64:
                self.active, self.quiet, self.age = True, 0, 0
                return "onset"
            return ""
        self.age += 1
        if score >= self.onset / 2:
            self.quiet = 0
        if self.quiet >= 16:
            self.active, self.quiet = False, 0
            return "clear"
        return ""


class PlainHabit:
    """One-step prediction and its residual in units of a robust scale."""

    def __init__(self, x: float) -> None:
        self.n, self.before, self.level, self.near = 1, x, x, x
        self.scale = self.product = self.power = self.quantum = 0.0

    def look(self, x: float, moved: float) -> tuple[float, float, float]:
        if moved > 0:
            self.quantum = min(moved, self.quantum or math.inf)
        phi = min(max(self.product / self.power, 0), 0.98) * self.n / (self.n + 8) if self.power > 0 else 0.0
        self.predicted = self.level + phi * (self.before - self.level)
        floor = max(self.quantum, 1e-12 * abs(self.level), 1e-300)
        return x - self.predicted, max(self.scale * (1 + 8 / self.n), floor), phi

    def learn(self, x: float, residual: float, scale: float) -> None:
        memory = max(1 / 512, 1 / (self.n + 1))
        reach = 4 * scale if self.n >= 8 else math.inf
        clipped = max(-reach, min(reach, residual))
        self.scale += memory * (1.2533 * abs(clipped) - self.scale)
        a, b = self.before - self.level, self.predicted + clipped - self.level
        self.product += memory * (a * b - self.product)
        self.power += memory * (a * a - self.power)
        self.level += memory * b
        self.near += (x - self.near) / 16
        self.before = x
        self.n += 1


class PlainLevel:
    def __init__(self) -> None:
        self.shift, self.power = 0.0, 0.0

    def score(self, z: float, scale: float, phi: float, size: float) -> float:
        self.shift += (max(-3.0, min(3.0, z)) - self.shift) / 16
        power = max(self.power, 1 / 31)
        self.power = power + (min(self.shift**2, 16 * power) - power) / 2048
        return 0.0 if abs(self.shift) * scale < size * (1 - phi) else tail(abs(self.shift) / math.sqrt(power))


class PlainSpike:
    def __init__(self) -> None:
        self.chance, self.excess = 0.0027, 0.085

    def score(self, z: float, scale: float, size: float) -> float:
        off, rare = abs(z), -math.log10(self.chance)
        score = rare * off / 3 if off <= 3 else rare + math.log10(off / 3) / self.excess
        self.chance = max(self.chance + ((off > 3) - self.chance) / 2048, 1e-4)
        if off > 3:
            self.excess = max(self.excess + (min(math.log(off / 3), 8 * self.excess) - self.excess) / 128, 0.085)
        return 0.0 if off * scale < size else min(score, 99.0)


class PlainVariance:
    def __init__(self) -> None:
        self.recent = self.usual = 0.7979
        self.power = 0.0

    def score(self, z: float, scale: float, quantum: float, n: int) -> float:
        size = min(abs(z), 8.0)
        self.recent += (size - self.recent) / 32
        self.usual += max(1 / 512, 1 / (n - 32)) * (size - self.usual)
        if quantum == 0:
            return 0.0
        floor = quantum / scale / 4 + 1e-9
        ratio = math.log((self.recent + floor) / (self.usual + floor))
        power = max(self.power, 0.0093)
        self.power = power + (min(ratio**2, 16 * power) - power) / 2048
        return tail(abs(ratio) / math.sqrt(power))


class PlainSums:
    def __init__(self) -> None:
        self.sums = {1: 0.0, -1: 0.0}
        self.square, self.cube, self.n = 1.0, 0.0, 0

    def score(self, z: float, k: float, onset: float) -> float:
        z = max(-4.0, min(4.0, z))
        found = []
        for side in self.sums:
            a, b = max(side * self.cube, 0.0) / 6, max(self.square, 1.0) / 2
            r = k / b if a == 0 else (math.sqrt(b * b + 4 * a * k) - b) / (2 * a)  # a r^2 + b r = k
            self.sums[side] = min(max(0.0, self.sums[side] + side * z - k), 1.5 * onset * math.log(10) / r)
            x = r * (self.sums[side] + 1.166)
            found.append(math.log10((math.exp(x) - x - 1) / (2 * k * k) / 2))
        return min(max(*found, 0.0), 99.0)

    def learn(self, z: float) -> None:
        z = max(-4.0, min(4.0, z))
        self.n += 1
        memory = max(1 / 4096, 1 / (self.n + 64))
        self.square += memory * (z**2 - self.square)
        self.cube += memory * (z**3 - self.cube)


class PlainCourse:
    """Hourly levels of the day and offsets of the eight-hour parts of a week."""

    def __init__(self, now: float, x: float) -> None:
        self.level, self.offset = [x] * 24, [0.0] * 21
        self.hour, self.part = math.floor(now / 3600), math.floor(now / 28800)
        self.hours: list[float] = []
        self.parts: list[float] = []
        self.visits = 0

    def usual(self, now: float) -> float:
        place = now / 3600 - 0.5
        hour = math.floor(place)
        a, b = self.level[hour % 24], self.level[(hour + 1) % 24]
        return a + (place - hour) * (b - a) + self.offset[math.floor(now / 28800) % 21]

    def learn(self, now: float, x: float, scale: float) -> None:
        hour, part = math.floor(now / 3600), math.floor(now / 28800)
        if hour != self.hour:
            if self.hours:
                self.visits += 1
                laps = (self.visits - 1) // 24
                off = fmean(self.hours) - self.level[self.hour % 24]
                if laps >= 2:
                    off = max(-8 * scale, min(8 * scale, off))
                self.level[self.hour % 24] += max(1 / 8, 1 / (laps + 1)) * off
            self.hour, self.hours = hour, []
        if part != self.part:
            if self.parts and self.visits >= 48:
                off = fmean(self.parts) - self.offset[self.part % 21]
                self.offset[self.part % 21] += max(-8 * scale, min(8 * scale, off)) / 4
            self.part, self.parts = part, []
        offset = self.offset[part % 21]
        self.hours.append(x - offset)
        self.parts.append(x - self.usual(now) + offset)


@dataclass
class PlainSurprise:
    """level, spike, variance, seasonal, cusum, page_hinkley: all judge what could not be predicted."""

    which: str
    target: float = math.nan
    size: float = math.nan
    onset: float = 6.0
    pooled: int = 1  # readings a minute, of the sums

    def __post_init__(self) -> None:
        self.pool: list[float] = []
        self.latch, self.level, self.spike = PlainLatch(self.onset), PlainLevel(), PlainSpike()
        self.variance, self.sums = PlainVariance(), PlainSums()
        self.habit: PlainHabit | None = None
        self.mean, self.held = 0.0, 0
        self.near_summed, self.wander, self.summed = 0.0, 0.0, 0
        self.score = 0.0

    def push(self, now: float, x: float, gap: bool) -> str:
        self.score = 0.0
        if self.pooled > 1:
            self.pool = [x] if gap else [*self.pool, x]
            if len(self.pool) < self.pooled:
                return ""
            x, self.pool = fmean(self.pool), []
        if self.habit is None:
            self.course = PlainCourse(now, x)
            self.read = x
            self.habit = PlainHabit(0.0 if self.which == "seasonal" else x)
            return ""
        h, usual = self.habit, 0.0
        moved = abs(x - h.before)
        if self.which == "seasonal":
            moved, self.read = abs(x - self.read), x
            usual = self.course.usual(now)
            self.course.learn(now, x, h.scale)
        x -= usual
        if gap:
            h.before = x
            return ""
        residual, scale, phi = h.look(x, moved)
        if h.n >= 64 and (self.which != "seasonal" or self.course.visits >= 48):
            self.score = self._score(x, max(-1e9, min(1e9, residual / scale)), scale, phi)
        h.learn(x, residual, scale)
        word = self.latch.push(self.score)
        if math.isnan(self.target) and (word == "clear" or self.latch.age >= 256):
            self._accept(word == "clear")
        return word

    def _score(self, x: float, z: float, scale: float, phi: float) -> float:
        assert self.habit is not None
        if self.which == "variance":
            return self.variance.score(z, scale, self.habit.quantum, self.habit.n)
        if self.which in ("level", "spike", "seasonal"):
            found = [self.level.score(z, scale, phi, self.size)] if self.which != "spike" else []
            return max(found + ([self.spike.score(z, scale, self.size)] if self.which != "level" else []))
        centre = self.habit.level if math.isnan(self.target) else self.target
        if self.which == "page_hinkley":
            centre = self.mean if self.held else x
            self.held += 1
            self.mean = centre + max(1 / self.held, 1 / 4096) * (x - centre)
        k = 0.5 if math.isnan(self.size) else min(max(self.size * (1 - phi) / scale / 2, 0.25), 1.5)
        summed = z + (1 - phi) * (self.habit.level - centre) / scale
        if math.isnan(self.target):
            k = max(k, 2 * self.wander)
            self.summed += 1
            self.near_summed += (max(-4.0, min(4.0, summed)) - self.near_summed) / 16
            off = abs(self.near_summed) - self.wander
            self.wander += max(1 / 512 if off > 0 else 1 / 16384, 1 / self.summed) * off
        score = self.sums.score(summed, k, self.onset)
        self.sums.learn(z)
        return score

    def _accept(self, cleared: bool) -> None:
        assert self.habit is not None
        self.latch.age = 0
        if self.which == "variance":
            self.variance.usual = self.variance.recent
            return
        if self.which in ("cusum", "page_hinkley"):
            if not cleared or self.which == "page_hinkley":
                self.sums.sums = {1: 0.0, -1: 0.0}
                self.mean, self.held = self.habit.near, 32
        else:
            self.level.shift = 0.0
        if not cleared and self.which != "page_hinkley":
            self.habit.level = self.habit.near


@dataclass
class PlainStuck:
    size: float = 0.0
    span: float = 0.0
    onset: float = 6.0
    runs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.latch = PlainLatch(self.onset)
        self.run, self.score = 0, 0.0
        self.squares = self.lengths = 0.0

    def push(self, now: float, x: float, gap: bool) -> str:
        if not self.run:
            self.value, self.since, self.run = x, now, 1
            return ""
        if gap or abs(x - self.value) > self.size or now < self.since:
            if not gap and abs(x - self.value) > self.size:
                self._over()
            self.value, self.since, self.run = x, now, 1
        else:
            self.run += 1
        if self.span:
            self.score = min(self.onset * (now - self.since) / self.span, 99.0)
        elif len(self.runs) >= 32:
            self.score = min((self.run - 1) * math.log10(math.e) * self.lengths / self.squares, 99.0)
        return self.latch.push(self.score)

    def _over(self) -> None:
        self.runs.append(self.run)
        run = float(self.run)
        if len(self.runs) > 32:
            run = min(run, 14 * self.squares / self.lengths)
        memory = max(1 / 64, 1 / len(self.runs))
        self.squares += memory * (run**2 - self.squares)
        self.lengths += memory * (run - self.lengths)


@dataclass
class PlainMissing:
    period: float
    onset: float = 6.0

    def __post_init__(self) -> None:
        self.latch = PlainLatch(self.onset)
        self.n, self.score, self.run = 0, 0.0, 0.0
        self.usual = self.recent = 0.02

    def push(self, now: float, x: float) -> str:
        self.n += 1
        if self.n == 1:
            self.last = now
            return ""
        silent = min(max(math.floor((now - self.last) / self.period + 0.5) - 1, 0), 256)
        self.last = now
        lost = silent + (not math.isfinite(x))
        for _ in range(lost):
            self.recent += (1 - self.recent) / 32
        self.run += lost
        found = [-self.run * math.log10(self.usual) if lost else 0.0]
        if math.isfinite(x):
            self.recent -= self.recent / 32
            self.run = 0
        p = self.usual
        self.usual = max(p + max(1 / 1024, 1 / (self.n + 64)) * ((lost > 0) - p), 0.002)
        f, p = min(self.recent, 1 - 1e-9), p
        if f > p:
            found.append(63 / math.log(10) * (f * math.log(f / p) + (1 - f) * math.log((1 - f) / (1 - p))))
        self.score = min(max(found), 99.0) if self.n >= 64 else 0.0
        return self.latch.push(self.score)


@dataclass
class PlainDrift:
    span: float = 86400.0
    size: float = 0.0
    onset: float = 6.0

    def __post_init__(self) -> None:
        self.latch = PlainLatch(self.onset)
        self.block: int | None = None
        self.first, self.held = True, 0.0
        self.means: list[float] = []
        self.quantum, self.score, self.typical = 0.0, 0.0, 0.0
        self.sigma = self.power = 0.0

    def push(self, now: float, x: float, gap: bool) -> str:
        block = math.floor(now / self.span)
        if self.block is None:
            self.block, self.before, self.inside = block, x, []
            return ""
        if x != self.before:
            self.quantum = min(abs(x - self.before), self.quantum or math.inf)
        self.before = x
        if block != self.block:
            if not self.first and len(self.inside) >= max(0.75 * self.typical, 1):
                self._close(fmean(self.inside))
            self.first, self.block = False, block
            self.typical = max(len(self.inside), 0.9 * self.typical)
            self.inside = []
        self.inside.append(x)
        return self.latch.push(self.score)

    def _close(self, mean: float) -> None:
        self.means.append(mean)
        n = len(self.means)
        if n == 1:
            self.fast = self.slow = mean
            return
        step = abs(mean - self.means[-2]) / 1.1284
        if n > 4:
            step = min(step, 4 * max(self.sigma, self.quantum))
        self.sigma += max(1 / 32, 1 / (n - 1)) * (step - self.sigma)
        self.fast += max(1 / 4, 1 / n) * (mean - self.fast)
        self.slow += max(1 / 32, 1 / n) * (mean - self.slow)
        off = abs(self.fast - self.slow)
        ratio = min(off / max(self.sigma * (1 + 8 / n), self.quantum / 2, 1e-12 * abs(mean), 1e-300), 1e6)
        a, b = 1 / 4, 1 / 32
        power = max(self.power, a / (2 - a) + b / (2 - b) - 2 * a * b / (a + b - a * b))
        self.score = 0.0 if n < 8 or off < self.size else tail(ratio / math.sqrt(power))
        self.power = power + (min(ratio**2, 4 * power) - power) / 32
