"""The default chain from River's nearest equivalents, one object a channel. Readings in, scores out.

`InRiver` keeps every running statistic of the universal detector in the River class for it: exponentially weighted
means and variance, a profile of means by hour, and for each side of the eleven features its usual size and its record.
`RiverReady` has River's own ready detectors in its place, which know neither hours nor records: a deviation scorer and
Page-Hinkley. Both have a rolling median and MAD for the Hampel filter and running statistics for the window.
"""

from __future__ import annotations

import math
from typing import Any

from river import anomaly, drift, stats

from benchmarks.fastpath_rig import SECOND, WINDOW_S, Batch
from fastpath import detect, novelty, season

SPAN = 11


class Framed:
    """Gate, Hampel filter and window around a detector."""

    def __init__(self) -> None:
        self.median, self.mad = stats.RollingQuantile(0.5, SPAN), stats.RollingQuantile(0.5, SPAN)
        self.end_ns = 0
        self.rows: list[tuple[float | None, ...]] = []
        self._open()

    def _open(self) -> None:
        self.window: tuple[Any, ...] = (
            stats.Mean(), stats.Var(), stats.Min(), stats.Max(), stats.Quantile(0.5), stats.Quantile(0.95),
        )  # fmt: skip

    def push(self, time_ns: int, x: float) -> float:
        if time_ns >= self.end_ns:
            self.rows.append(tuple(one.get() for one in self.window))
            self._open()
            self.end_ns = (time_ns // (WINDOW_S * SECOND) + 1) * WINDOW_S * SECOND
        if not math.isfinite(x):
            return 0.0
        self.median.update(x)
        middle = self.median.get()
        self.mad.update(abs(x - middle))
        spike: bool = abs(x - middle) > 3 * 1.4826 * self.mad.get()
        for one in self.window:
            one.update(x)
        return self.judge(time_ns, x) + spike

    def judge(self, time_ns: int, x: float) -> float:
        raise NotImplementedError


class ReadyChannel(Framed):
    def __init__(self) -> None:
        super().__init__()
        self.scorer, self.change = anomaly.StandardAbsoluteDeviation(), drift.PageHinkley()

    def judge(self, time_ns: int, x: float) -> float:
        score: float = self.scorer.score_one(None, x)
        self.scorer.learn_one(None, x)
        self.change.update(x)
        return score + float(self.change.drift_detected)


class Side:
    """One side of a feature: its usual size and its record."""

    def __init__(self) -> None:
        self.usual, self.record = stats.EWMean(novelty.SIZE_SHARE), stats.Max()

    def ratio(self, size: float) -> float:
        self.usual.update(size)
        if size <= 0.0:
            return 0.0
        ratio: float = size / (max(self.record.get(), novelty.GATE * self.usual.get()) + 1e-9)
        self.record.update(size)
        return ratio


class UniversalChannel(Framed):
    def __init__(self) -> None:
        super().__init__()
        self.slow, self.short = stats.EWMean(detect.SLOW), stats.EWMean(detect.SHORT)
        self.middle, self.long = stats.EWMean(detect.MIDDLE), stats.EWMean(detect.LONG)
        self.variance = stats.EWVar(detect.SLOW)
        self.moves = tuple(stats.EWMean(share) for share in (detect.SLOW, detect.SHORT, detect.LONG))
        self.hours = [stats.EWMean(0.01) for _ in range(2 * season.HOURS)]
        self.spread, self.typical = [stats.EWMean(0.05) for _ in range(season.HOURS)], stats.EWMean(detect.SLOW)
        self.left_long, self.strange_long = stats.EWMean(detect.LONG), stats.EWMean(detect.LONG)
        self.sides = [(Side(), Side()) for _ in range(novelty.FEATURES)]
        self.before, self.run = 0.0, 0.0
        for one in (self.slow, self.short, self.middle, self.long, *self.hours):
            one.update(0.0)
        for one in (self.typical, *self.spread, *self.moves, self.left_long, self.strange_long):
            one.update(0.0)
        for pair in self.sides:
            for side in pair:
                side.record.update(0.0)

    def judge(self, time_ns: int, x: float) -> float:
        jump = abs(x - self.before)
        self.run = 0.0 if jump > 0.0 else self.run + 1.0
        self.before = x
        stepped = x - self.short.get()
        for mean in (self.slow, self.short, self.middle, self.long, self.variance):
            mean.update(x)
        for move in self.moves:
            move.update(jump)
        hours = time_ns // season.HOUR_NS
        hour = hours % season.HOURS
        profile = self.hours[hour + (season.HOURS if (hours // season.HOURS + 3) % 7 >= 5 else 0)]
        left = x - profile.get()
        profile.update(x)
        strange = left / (0.5 * (self.spread[hour].get() + self.typical.get()) + 1e-9)
        self.spread[hour].update(abs(left))
        self.typical.update(abs(left))
        self.left_long.update(left)
        self.strange_long.update(strange)
        slow, short, middle, long = self.slow.get(), self.short.get(), self.middle.get(), self.long.get()
        usual, recent, lasting = (move.get() for move in self.moves)
        features = (
            stepped, x - slow, left, short - long, middle - slow, long - slow, self.left_long.get(), recent - usual,
            self.strange_long.get(), math.log((usual + 1e-9) / (lasting + 1e-9)), self.run,
        )  # fmt: skip
        best = agreeing = 0.0
        for (above, below), f in zip(self.sides, features, strict=True):
            ratio = max(above.ratio(max(f, 0.0)), below.ratio(max(-f, 0.0)))
            best = max(best, ratio)
            agreeing += max(0.0, ratio - detect.NEAR)
        return best * (1.0 + detect.AGREEMENT * min(agreeing, detect.MOST_AGREEMENT))


class InRiver:
    channel: type[Framed] = UniversalChannel

    def __init__(self, channels: int) -> None:
        self.channels = [self.channel() for _ in range(channels)]

    def push(self, batch: Batch) -> list[float]:
        channels = self.channels
        return [
            channels[c].push(t, x)
            for c, t, x in zip(batch.channel.tolist(), batch.time_ns.tolist(), batch.value.tolist(), strict=True)
        ]


class RiverReady(InRiver):
    channel = ReadyChannel
