"""The default chain in numpy, vectorised over channels: one row of readings (one of every channel) after the other.

As `Ours`, for whole rows of gauges that share one window, with no more than 96 readings in it (then a sketch is exact,
and a buffer does). Readings in, marks, scores and rows out.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fastpath_detect import Detectors
from benchmarks.fastpath_rig import EPOCH_ROWS, SECOND, WINDOW_S, Batch, Result
from fastpath import filter
from fastpath.columns import LARGEST
from fastpath.marks import MISSING, NO_NUMBER, SPIKE, STALE, SUSPECT

F8 = NDArray[np.float64]


class InNumpy:
    def __init__(self, channels: int) -> None:
        n = self._count = channels
        self._seen = np.full(n, -(2**62))
        self._ring, self._taken = np.full((filter.SPAN, n), LARGEST), np.zeros(n, np.int64)
        self._power, self._quantum = np.zeros(n), np.zeros(n)
        self._detectors = Detectors(n)
        self._end = (EPOCH_ROWS // WINDOW_S + 1) * WINDOW_S * SECOND
        self._start = EPOCH_ROWS * SECOND
        self._open()

    def _open(self) -> None:
        n = self._count
        self._held = np.full((96, n), np.nan)
        self._rows, self._n = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._last_ns, self._quality = np.zeros(n, np.int64), np.zeros(n, np.int64)

    def push(self, batch: Batch) -> Any:
        n = self._count
        rows = len(batch.channel) // n
        time, value = batch.time_ns.reshape(rows, n), batch.value.reshape(rows, n)
        quality = batch.quality.reshape(rows, n)
        mark, score = np.empty((rows, n), np.uint8), np.zeros((rows, n))
        windows: list[F8] = []
        alerts: list[F8] = []
        for k in range(rows):
            self._row(time[k], value[k], quality[k], mark[k], score[k], windows, alerts)
        return mark.reshape(-1), score.reshape(-1), windows, alerts

    def _row(
        self,
        time: NDArray[np.int64],
        value: F8,
        quality: NDArray[np.uint8],
        mark: NDArray[np.uint8],
        score: F8,
        windows: list[F8],
        alerts: list[F8],
    ) -> None:
        if time[0] >= self._end:
            windows.append(self._close())
        good = (quality < NO_NUMBER) & np.isfinite(value)
        self._rows += 1
        everyone = bool(good.all())
        at: Any = slice(None) if everyone else np.flatnonzero(good)
        if not everyone:
            mark[~good] = MISSING
            self._quality[~good] = np.maximum(self._quality[~good], NO_NUMBER)
        t, x = time[at], value[at]
        before = self._seen[at].copy()
        self._seen[at] = t
        bits = np.where(t <= before, STALE, 0)
        fresh = np.flatnonzero(bits == 0)
        if len(fresh) != len(x):
            raise NotImplementedError("rows of this benchmark have times that advance")
        bits |= self._hampel(at, x)
        words, scores, expected = self._detectors.step(at, t, x, (t - before > 8 * SECOND) & (before > -(2**61)))
        score[at] = scores
        for k in np.flatnonzero(words):
            c = k if everyone else at[k]
            alerts.append(np.array([c, t[k], words[k] == 1, scores[k], x[k], expected[k]], float))
        mark[at] = bits
        self._count_in(at, t, x, quality[at], bits)

    def _hampel(self, at: Any, x: F8) -> NDArray[np.int64]:
        count = self._taken[at].copy()
        slot = count % filter.SPAN
        columns = np.arange(self._count)[at]
        last = self._ring[(count - 1) % filter.SPAN, columns]
        self._ring[slot, columns] = x
        self._taken[at] = count + 1
        moved, quantum = np.abs(x - last), self._quantum[at].copy()
        finer = (count > 0) & (moved > 0) & ((quantum == 0) | (moved < quantum))
        self._quantum[at] = np.where(finer, np.minimum(moved, filter.TOO_LARGE), quantum)
        window = self._ring[:, at]
        median = np.partition(window, filter.HALF, axis=0)[filter.HALF]
        with np.errstate(over="ignore"):
            mad = np.partition(np.abs(window - median), filter.HALF, axis=0)[filter.HALF]
        power = self._power[at]
        off = np.abs(x - median)
        limit = np.maximum(filter.LIMIT * filter.GAUSSIAN * mad, filter.LIMIT * np.sqrt(power))
        limit = np.maximum(limit, 2 * quantum)
        known = count + 1 >= filter.SPAN
        spike = known & (off > limit)
        counted = np.where(spike & (limit > 0), limit, off)
        with np.errstate(over="ignore"):
            learnt = power + filter.MEMORY * (counted * counted - power)
        self._power[at] = np.where(known & (counted < filter.TOO_LARGE), learnt, power)
        return np.where(spike, SPIKE, 0)

    def _count_in(
        self, at: Any, t: NDArray[np.int64], x: F8, quality: NDArray[np.uint8], bits: NDArray[np.int64]
    ) -> None:
        self._held[self._n[at], np.arange(self._count)[at]] = x
        self._n[at] += 1
        self._last_ns[at] = t
        worst = np.maximum(quality, np.where(bits & SPIKE, SUSPECT, 0))
        self._quality[at] = np.maximum(self._quality[at], worst)

    def _close(self) -> F8:
        n = self._count
        held, counted = self._held[: max(int(self._n.max()), 1)], self._n
        first = held[0]
        last = held[np.maximum(counted - 1, 0), np.arange(n)]
        due = np.full(n, (self._end - self._start + SECOND // 2) // SECOND)
        if np.all(counted == len(held)):
            numbers = (held.min(axis=0), held.max(axis=0), held.mean(axis=0), held.std(axis=0))
            quantiles = np.quantile(held, (0.5, 0.95), axis=0)
        else:
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # channels that read nothing
                numbers = tuple(f(held, axis=0) for f in (np.nanmin, np.nanmax, np.nanmean, np.nanstd))
            quantiles = _quantiles(held, counted)
        low, high, mean, sd = numbers
        row = (np.arange(n), np.full(n, self._start), np.full(n, self._end), counted, np.maximum(due, self._rows))
        rows = np.column_stack(
            [*row, self._last_ns, self._quality, low, high, mean, sd, first, last, *quantiles]
        ).astype(float)
        self._start, self._end = self._end, self._end + WINDOW_S * SECOND
        self._open()
        return rows

    @staticmethod
    def result(pushed: Any) -> Result:
        mark, score, windows, alerts = pushed
        whole = np.concatenate(windows) if windows else np.zeros((0, 15))
        found = np.stack(alerts) if alerts else np.zeros((0, 6))
        ordered = (rows[np.lexsort((rows[:, 1], rows[:, 0]))] for rows in (whole, found))
        return Result(mark, score, *ordered)


def _quantiles(held: F8, counted: NDArray[np.int64]) -> list[F8]:
    """Of columns of different lengths: NaN sorts last."""
    ordered, columns = np.sort(held, axis=0), np.arange(held.shape[1])
    found = []
    for p in (0.5, 0.95):
        rank = p * (counted - 1)
        low = np.maximum(np.floor(rank).astype(np.int64), 0)
        high = np.maximum(np.minimum(low + 1, counted - 1), 0)
        share = rank - low
        found.append(ordered[low, columns] * (1 - share) + ordered[high, columns] * share)
    return found
