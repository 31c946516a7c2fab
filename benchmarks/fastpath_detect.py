"""The universal detector in numpy, vectorised over channels: one reading of each in, words, scores and predictions out.

As fastpath.detect, novelty and season, whose constants it takes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath import detect, novelty, season

F8 = NDArray[np.float64]
ZEROS = (
    "count", "before", "expected", "last_s", "period_s", "mean", "variance", "moves", "quantum", "run", "since",
    "active", "calmed", "settling", "mean_short", "mean_middle", "mean_long", "left_long", "strange_long",
    "moves_short", "moves_long", "typical", "residuals",
)  # fmt: skip
UNITLESS = np.arange(novelty.FEATURES) >= novelty.STRANGE
SINGLE = np.arange(novelty.FEATURES) <= novelty.HUMP


class Detectors:
    def __init__(self, channels: int) -> None:
        self._state = {name: np.zeros(channels) for name in ZEROS}
        self._profile = np.full((2 * season.HOURS, channels), season.UNSEEN)
        self._spread = np.zeros((season.HOURS, channels))
        shape = (2, novelty.FEATURES, channels)
        self._usual, self._record, self._newest = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def step(self, at: Any, time_ns: NDArray[np.int64], x: F8, gap: NDArray[np.bool_]) -> tuple[Any, F8, F8]:
        """Of the channels `at`: ONSET, CLEAR or NOTHING, score, expected. All were read at the same time."""
        s = SimpleNamespace(**{name: column[at].copy() for name, column in self._state.items()})
        t_s = 1e-9 * time_ns
        first = s.count == 0.0
        elapsed = np.where(first, 0.0, t_s - s.last_s)
        s.last_s = t_s
        if first.any():
            for name in ("before", "expected", "mean", "mean_short", "mean_middle", "mean_long"):
                setattr(s, name, np.where(first, x, getattr(s, name)))
            s.count, s.since = np.where(first, 1.0, s.count), np.where(first, detect.LONG_AGO, s.since)
        if gap.any():
            s.before, s.run = np.where(gap, x, s.before), np.where(gap, 0.0, s.run)
            s.settling = np.where(gap, detect.BACK, s.settling)
        judged = ~(first | gap)
        kept = SimpleNamespace(**vars(s))
        columns = np.arange(len(self._state["count"]))[at]
        hour = int(_hour_of(int(time_ns[0])))
        words, scores = self._judged(s, columns, x, elapsed, hour, judged)
        for name, column in self._state.items():
            new = getattr(s, name)
            column[at] = new if judged.all() else np.where(judged, new, getattr(kept, name))
        return np.where(judged, words, 0), np.where(judged, scores, 0.0), s.expected

    def _judged(
        self, s: Any, columns: NDArray[np.int64], x: F8, elapsed: F8, hour: int, judged: NDArray[np.bool_]
    ) -> tuple[Any, F8]:
        n = s.count.copy()
        s.count = n + 1.0
        seen = np.where(s.period_s > 0.0, np.minimum(elapsed, 4.0 * s.period_s), elapsed)
        moved = s.period_s + np.maximum(detect.PERIOD_SHARE, 1.0 / n) * (seen - s.period_s)
        s.period_s = np.where(elapsed > 0.0, moved, s.period_s)
        values = self._look(s, columns, n, x, hour, judged)
        score, unjudged = self._novel(s, columns, n, values, judged)
        return _decide(self, s, columns, np.where(unjudged, 0.0, score), judged)

    def _look(self, s: Any, columns: NDArray[np.int64], n: F8, x: F8, hour: int, judged: NDArray[np.bool_]) -> F8:
        jump = np.abs(x - s.before)
        finer = (jump > 0.0) & ((s.quantum == 0.0) | (jump < s.quantum))
        s.quantum = np.where(finer, jump, s.quantum)
        s.run = np.where(jump > 0.0, 0.0, s.run + 1.0)
        s.before = x
        tiny = np.maximum(np.maximum(s.quantum, 1e-12 * np.abs(s.mean)), 1e-300)
        reach = detect.CLIP * (np.sqrt(s.variance) + tiny)
        x = s.mean + np.clip(x - s.mean, -reach, reach)
        jump = np.minimum(jump, 2.0 * reach)
        first = 1.0 / (n + 1.0)
        slow, long = np.maximum(detect.SLOW, first), np.maximum(detect.LONG, first)
        off = x - s.mean
        s.variance = (1.0 - slow) * (s.variance + slow * off * off)
        s.mean = s.mean + slow * off
        stepped = x - s.mean_short
        s.mean_short = s.mean_short + np.maximum(detect.SHORT, first) * stepped
        s.mean_middle = s.mean_middle + np.maximum(detect.MIDDLE, first) * (x - s.mean_middle)
        s.mean_long = s.mean_long + long * (x - s.mean_long)

        own, working = self._profile[hour, columns], self._profile[hour % season.HOURS, columns]
        closer = (own == season.UNSEEN) | ((working != season.UNSEEN) & (np.abs(x - working) < np.abs(x - own)))
        base = np.where(closer, working, own)
        unseen = base == season.UNSEEN
        known = np.where(unseen, 0.0, x - base)
        spread = self._spread[hour % season.HOURS, columns]
        strange = np.clip(known / (0.5 * (spread + s.typical) + tiny), -season.STRANGEST, season.STRANGEST)
        s.expected = np.where((s.typical < s.moves) & (known != 0.0), x - known, x - stepped)
        self._learn_hour(s, columns, x, known, unseen, spread, hour, judged)
        s.left_long = s.left_long + long * (known - s.left_long)
        s.strange_long = s.strange_long + long * (strange - s.strange_long)
        s.moves = s.moves + slow * (jump - s.moves)
        s.moves_short = s.moves_short + np.maximum(detect.SHORT, first) * (jump - s.moves_short)
        s.moves_long = s.moves_long + long * (jump - s.moves_long)
        still = 0.03 * s.moves + 1e-6 * tiny
        found = np.empty((novelty.FEATURES, len(x)))
        found[novelty.STEP], found[novelty.DISTANCE] = stepped, x - s.mean
        found[novelty.SHIFT], found[novelty.LASTING_SHIFT] = s.mean_middle - s.mean, s.mean_long - s.mean
        found[novelty.HUMP], found[novelty.UNSEASONAL] = s.mean_short - s.mean_long, known
        found[novelty.LASTING_UNSEASONAL], found[novelty.STRANGE] = s.left_long, s.strange_long
        found[novelty.ROUGH], found[novelty.FLAT] = s.moves_short - s.moves, s.run
        found[novelty.QUIET] = np.maximum(0.0, np.log((s.moves + still) / (s.moves_long + still)))
        return found

    def _learn_hour(
        self, s: Any, columns: NDArray[np.int64], x: F8, known: F8, unseen: NDArray[np.bool_], spread: F8, hour: int,
        judged: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        size = np.abs(known)
        s.residuals = np.where(unseen, s.residuals, s.residuals + 1.0)
        share = np.maximum(detect.SLOW, 1.0 / np.maximum(s.residuals, 1.0))
        limited = np.where(s.typical > 0.0, np.minimum(size, season.CLIP * s.typical), size)
        s.typical = np.where(unseen, s.typical, s.typical + share * (limited - s.typical))
        wider = spread + season.SPREAD_SHARE * (np.minimum(size, season.CLIP * spread) - spread)
        learnt = judged & ~unseen
        self._spread[hour % season.HOURS, columns] = np.where(learnt, np.where(spread > 0.0, wider, size), spread)
        own = self._profile[hour, columns]
        level = np.where(own == season.UNSEEN, s.mean_short, own)
        share = np.minimum(season.LARGEST_SHARE, s.period_s / (3600.0 * season.MEMORY_DAYS))
        self._profile[hour, columns] = np.where(judged, level + share * (x - level), own)

    def _novel(
        self, s: Any, columns: NDArray[np.int64], n: F8, values: F8, judged: NDArray[np.bool_]
    ) -> tuple[F8, NDArray[np.bool_]]:
        reading = n.astype(np.int64)
        usual, record, newest = (part[:, :, columns] for part in (self._usual, self._record, self._newest))
        faded = np.flatnonzero(n > novelty.EARLY)
        j = reading[faded] % novelty.FEATURES
        slower = np.maximum(novelty.FADE_READINGS, novelty.FADE_S / np.maximum(s.period_s[faded], 1e-3))
        limit, old = novelty.EXTREME * usual[:, j, faded], record[:, j, faded]
        beyond = (old > limit) & (limit > 0.0)
        ratio = np.log(np.where(beyond, old, 1.0) / np.where(beyond, limit, 1.0))
        record[:, j, faded] = old * (1.0 - ratio * novelty.FEATURES / slower)

        share = np.maximum(novelty.SIZE_SHARE, 1.0 / (n + 1.0))
        unjudged = (n < novelty.EARLY) | (s.settling > 0.0)
        accept = unjudged | (s.active > 0.0) | (s.since < detect.REFRACTORY)
        s.settling = np.maximum(0.0, s.settling - 1.0)
        floor = detect.FLOOR * np.sqrt(s.variance) + 1e-12 * np.abs(s.mean) + 1e-300
        floors = np.where(UNITLESS[:, None], detect.UNIT_FLOOR, floor[None, :])
        floors[novelty.FLAT] = detect.FLAT_FLOOR
        least = np.where(SINGLE[:, None], (detect.QUANTA * s.quantum)[None, :], 0.0)

        size, below = np.abs(values), values < 0.0
        sides = np.where(below, 0.0, size), np.where(below, size, 0.0)
        due = (reading[None, :] & (novelty.LAG[:, None] - 1)) == 0
        for side in (0, 1):
            usual[side] += share * (sides[side] - usual[side])
            record[side] = np.where(due, np.maximum(record[side], newest[side]), record[side])
            newest[side] = np.where(due, 0.0, newest[side])
        held = np.where(below, record[1], record[0])
        held = np.maximum(np.maximum(held, novelty.GATE * np.where(below, usual[1], usual[0])), least) + floors
        most = np.minimum(size, novelty.LARGEST_LEAP * held)
        for side, mine in ((0, ~below), (1, below)):
            record[side] = np.where(mine & accept, np.maximum(record[side], most), record[side])
            newest[side] = np.where(mine & ~accept, np.maximum(newest[side], most), newest[side])
        everyone = judged.all()
        for part, new in ((self._usual, usual), (self._record, record), (self._newest, newest)):
            part[:, :, columns] = new if everyone else np.where(judged, new, part[:, :, columns])
        ratios = size / held
        agreeing = np.maximum(0.0, ratios - detect.NEAR).sum(axis=0)
        score = ratios.max(axis=0) * (1.0 + detect.AGREEMENT * np.minimum(agreeing, detect.MOST_AGREEMENT))
        return np.minimum(score * n / (n + detect.LITTLE_KNOWN), detect.MAX_SCORE), unjudged


def _hour_of(time_ns: int) -> int:
    hours = time_ns // season.HOUR_NS
    return hours % season.HOURS + (season.HOURS if (hours // season.HOURS + 3) % 7 >= 5 else 0)


def _decide(
    owner: Detectors, s: Any, columns: NDArray[np.int64], score: F8, judged: NDArray[np.bool_]
) -> tuple[Any, F8]:
    since = s.since + 1.0
    standing = s.active > 0.0
    early = ~standing & (since < 16.0 * detect.REFRACTORY)
    score = np.where(early, score * (1.0 - np.exp(-since / detect.REFRACTORY)), score)
    often = ~standing & (score >= detect.ONSET_SCORE) & (s.period_s > 0.0) & (s.period_s < detect.OFTEN_BELOW_S)
    times = detect.OFTEN_BELOW_S / np.where(often, s.period_s, 1.0)
    known = (s.count + detect.LITTLE_KNOWN) / (s.count + detect.LITTLE_KNOWN * np.sqrt(times))
    score = np.where(often, score * known / (1.0 + detect.OFTEN * np.log10(times)), score)
    onset = ~standing & (score >= detect.ONSET_SCORE)
    for c in columns[onset & judged]:
        owner._record[:, :, c] = np.maximum(owner._record[:, :, c], owner._newest[:, :, c])
        owner._newest[:, :, c] = 0.0
    calmed = np.where(score < detect.CLEAR_SCORE, s.calmed + 1.0, 0.0)
    clear = standing & ((calmed >= detect.CALM) | (since >= detect.ACCEPTED))
    s.calmed = np.where(standing, calmed, np.where(onset, 0.0, s.calmed))
    s.active = np.where(onset, 1.0, np.where(clear, 0.0, s.active))
    s.since = np.where(onset, 0.0, since)
    told = np.where(standing, np.minimum(score, detect.CLEAR_SCORE), score)
    return np.where(onset, detect.ONSET, np.where(clear, detect.CLEAR, 0)), told
