"""The universal detector with its formulas spelt out, one reading at a time; see fastpath.detect for why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

HOUR = 3_600_000_000_000
LAGS = {
    "step": 2, "distance": 2, "unseasonal": 2, "hump": 2, "shift": 8, "lasting shift": 32, "lasting unseasonal": 32,
    "rough": 2, "strange": 32, "quiet": 32, "flat": 64,
}  # fmt: skip
SINGLE = ("step", "distance", "unseasonal", "hump")
UNITLESS = {"strange": 0.5, "quiet": 0.5, "flat": 16.0}


def clipped(x: float, low: float, high: float) -> float:
    return max(low, min(high, x))


@dataclass
class PlainSide:
    """One side of one feature."""

    usual: float = 0.0
    record: float = 0.0
    newest: float = 0.0


class PlainSeason:
    def __init__(self) -> None:
        self.profile: dict[tuple[bool, int], float] = {}
        self.spread: dict[int, float] = {}
        self.typical, self.residuals = 0.0, 0

    def residual(self, weekend: bool, hour: int, x: float) -> float | None:
        days = ((weekend, hour), (False, hour))
        left = [x - self.profile[day] for day in days if day in self.profile]
        return min(left, key=abs, default=None)

    def standard(self, hour: int, left: float, tiny: float) -> float:
        return clipped(left / (0.5 * (self.spread.get(hour, 0.0) + self.typical) + tiny), -1000, 1000)

    def learn(self, day: tuple[bool, int], x: float, smooth: float, left: float | None, period: float) -> None:
        hour = day[1]
        if left is not None:
            size = abs(left)
            self.residuals += 1
            share = max(2 / 501, 1 / self.residuals)
            self.typical += share * ((min(size, 8 * self.typical) if self.typical else size) - self.typical)
            spread = self.spread.get(hour, 0.0)
            self.spread[hour] = spread + 0.05 * (min(size, 8 * spread) - spread) if spread else size
        before = self.profile.get(day, smooth)
        self.profile[day] = before + min(0.1, 0.2 * period / 3600) * (x - before)


@dataclass
class PlainDetector:
    n: int = 0
    period: float = 0.0
    variance: float = 0.0
    quantum: float = 0.0
    run: int = 0
    moves: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("slow", "short", "long"), 0.0))
    left_long: float = 0.0
    strange_long: float = 0.0
    since: float = 1e6
    active: bool = False
    calm: int = 0
    settling: int = 0
    score: float = 0.0
    sides: dict[tuple[str, bool], PlainSide] = field(
        default_factory=lambda: {(name, up): PlainSide() for name in LAGS for up in (True, False)}
    )
    season: PlainSeason = field(default_factory=PlainSeason)

    def push(self, t: int, x: float, gap: bool, align: int = 0) -> str:
        self.score = 0.0
        if self.n == 0:
            self.n, self.before, self.last, self.expected = 1, x, 1e-9 * t, x
            self.mean = dict.fromkeys(("slow", "short", "middle", "long"), x)
            return ""
        elapsed, self.last = 1e-9 * t - self.last, 1e-9 * t
        if gap:
            self.before, self.run, self.settling = x, 0, 4
            return ""
        if elapsed > 0:
            seen = min(elapsed, 4 * self.period) if self.period else elapsed
            self.period += max(0.02, 1 / self.n) * (seen - self.period)
        score = self._judge(self._look(t + align, x))
        self.n += 1
        return self._decide(score)

    def _look(self, utc: int, x: float) -> dict[str, float]:
        hours = utc // HOUR
        weekend, hour = (hours // 24 + 3) % 7 >= 5, hours % 24
        jump = abs(x - self.before)
        if jump > 0:
            self.quantum = min(jump, self.quantum or math.inf)
        self.run = 0 if jump > 0 else self.run + 1
        self.before = x
        mean = self.mean
        tiny = max(self.quantum, 1e-12 * abs(mean["slow"]), 1e-300)
        reach = 64 * (math.sqrt(self.variance) + tiny)
        x = mean["slow"] + clipped(x - mean["slow"], -reach, reach)
        jump = min(jump, 2 * reach)

        first = 1 / (self.n + 1)
        share = {"slow": 2 / 501, "short": 2 / 5, "middle": 2 / 17, "long": 2 / 65}
        share = {name: max(s, first) for name, s in share.items()}
        off = x - mean["slow"]
        self.variance = (1 - share["slow"]) * (self.variance + share["slow"] * off * off)
        stepped = x - mean["short"]
        for name in mean:
            mean[name] += share[name] * (x - mean[name])

        left = self.season.residual(weekend, hour, x)
        known = left or 0.0
        strange = self.season.standard(hour, known, tiny)
        seasonal = self.season.typical < self.moves["slow"] and known != 0
        self.expected = x - known if seasonal else x - stepped
        self.season.learn((weekend, hour), x, mean["short"], left, self.period)
        self.left_long += share["long"] * (known - self.left_long)
        self.strange_long += share["long"] * (strange - self.strange_long)
        for name in self.moves:
            self.moves[name] += share[name] * (jump - self.moves[name])
        moves = self.moves["slow"]
        still = 0.03 * moves + 1e-6 * tiny
        return {
            "step": stepped,
            "distance": x - mean["slow"],
            "unseasonal": known,
            "hump": mean["short"] - mean["long"],
            "shift": mean["middle"] - mean["slow"],
            "lasting shift": mean["long"] - mean["slow"],
            "lasting unseasonal": self.left_long,
            "rough": self.moves["short"] - moves,
            "strange": self.strange_long,
            "quiet": max(0.0, math.log((moves + still) / (self.moves["long"] + still))),
            "flat": float(self.run),
        }

    def _judge(self, features: dict[str, float]) -> float:
        if self.n > 200:
            self._fade(list(LAGS)[self.n % len(LAGS)])
        share = max(1 / 2000, 1 / (self.n + 1))
        unjudged = self.n < 200 or self.settling > 0
        self.settling = max(0, self.settling - 1)
        accept = unjudged or self.active or self.since < 60
        spread = 0.05 * math.sqrt(self.variance) + 1e-12 * abs(self.mean["slow"]) + 1e-300
        ratios = []
        for name, f in features.items():
            for up in (True, False):
                side = self.sides[name, up]
                side.usual += share * (max(f if up else -f, 0.0) - side.usual)
                if self.n % LAGS[name] == 0:
                    side.record, side.newest = max(side.record, side.newest), 0.0
            side = self.sides[name, f >= 0]
            least = 2 * self.quantum if name in SINGLE else 0.0
            record = max(side.record, 10 * side.usual, least) + UNITLESS.get(name, spread)
            seen = min(abs(f), 100 * record)
            if accept:
                side.record = max(side.record, seen)
            else:
                side.newest = max(side.newest, seen)
            ratios.append(abs(f) / record)
        agreeing = min(sum(max(0.0, r - 0.9) for r in ratios), 4.0)
        if unjudged:
            return 0.0
        return min(max(ratios) * (1 + 0.2 * agreeing) * self.n / (self.n + 25), 99.0)

    def _fade(self, name: str) -> None:
        share = len(LAGS) / max(8000, 365 * 86400 / max(self.period, 1e-3))
        for up in (True, False):
            side = self.sides[name, up]
            if side.record > 10 * side.usual > 0:
                side.record *= 1 - math.log(side.record / (10 * side.usual)) * share

    def _decide(self, score: float) -> str:
        self.since += 1
        if not self.active:
            self.score = score * (1 - math.exp(-self.since / 60)) if self.since < 960 else score
            if self.score >= 1.1 and 0.0 < self.period < 60.0:
                times = 60.0 / self.period
                self.score *= (self.n + 25) / (self.n + 25 * math.sqrt(times)) / (1.0 + 0.1 * math.log10(times))
            if self.score < 1.1:
                return ""
            self.active, self.since, self.calm = True, 0, 0
            for side in self.sides.values():
                side.record, side.newest = max(side.record, side.newest), 0.0
            return "onset"
        self.calm = self.calm + 1 if score < 0.7 else 0
        self.score = min(score, 0.7)
        if self.calm < 16 and self.since < 1000:
            return ""
        self.active = False
        return "clear"
