"""Stations against each other. In: values on the scale of comparison. Out: residuals. State: each station's habits.

A station's habit is what it usually differs by from the others: a constant and a course over the day (a street canyon,
a park), learnt from the first days and followed slowly afterwards. Its residual is what is left of its difference to
the median of the others, their habits taken off. Learning is clipped, so that a plume does not become a habit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEAST_OTHERS = 2  # with one neighbour nobody can say which of the two is wrong
CLIP = 4.0  # scatters
SHRINK = 12  # rows of ten minutes without a difference that an hour's habit begins with
FOLLOW_DAYS = 20.0


@dataclass(slots=True)
class Habits:
    """f64[stations, quantities] unless said otherwise. `course` is f64[24, stations, quantities]."""

    constant: Values
    course: Values
    seen: Values
    seen_hour: Values
    own: Values  # scatter of each residual
    scatter: Values  # at least that of most stations: few days tell little
    step: Values  # of the residual from row to row
    last: Values

    @classmethod
    def new(cls, stations: int, scatter: Values) -> Habits:
        shape = (stations, len(scatter))
        return cls(
            np.zeros(shape),
            np.zeros((24, *shape)),
            np.zeros(shape),
            np.zeros((24, *shape)),
            np.tile(scatter, (stations, 1)),
            np.tile(scatter, (stations, 1)),
            np.tile(scatter * 0.8, (stations, 1)),
            np.full(shape, np.nan),
        )

    def of(self, hour: float) -> Values:
        """The habits at a local time of day, hours 0..24."""
        low = int(hour - 0.5) % 24 if hour >= 0.5 else 23
        part = (hour - 0.5) % 1.0
        return np.asarray(self.constant + (1.0 - part) * self.course[low] + part * self.course[(low + 1) % 24])

    def learn(
        self, hour: float, residual: Values, healthy: Mask, least: Values, rows_a_day: float, learn_rows: float
    ) -> None:
        """Take in f64[stations, quantities], the residuals of `healthy` columns: fast for `learn_rows`, then slowly."""
        ok = healthy & np.isfinite(residual)
        clipped = np.where(ok, np.clip(residual, -CLIP * self.scatter, CLIP * self.scatter), 0.0)
        self.seen += ok
        follow = FOLLOW_DAYS * rows_a_day
        young = self.seen < learn_rows
        self.constant += clipped / np.where(young, np.maximum(self.seen, 1.0), follow)
        low = int(hour - 0.5) % 24 if hour >= 0.5 else 23
        part = (hour - 0.5) % 1.0
        for bin_, weight in ((low, 1.0 - part), ((low + 1) % 24, part)):
            self.seen_hour[bin_] += weight * ok
            known = np.where(young, self.seen_hour[bin_], follow / 24.0) + SHRINK * rows_a_day / 144.0
            self.course[bin_] += weight * clipped / known
        settled = ok & (self.seen > rows_a_day)
        rate = 1.0 / np.where(young, np.maximum(self.seen - 0.5 * rows_a_day, 1.0), follow)
        self.own += np.where(settled, rate * (1.2533 * np.abs(clipped) - self.own), 0.0)
        usual = middle(np.where(self.seen > 0, self.own, np.nan))
        self.scatter = np.fmax(np.fmax(self.own, usual), least)
        change = np.abs(residual - self.last)
        both = settled & np.isfinite(change)
        change = np.where(both, np.minimum(change, CLIP * self.step), 0.0)
        self.step += np.where(both, rate * (1.2533 * change - self.step), 0.0)
        np.maximum(self.step, 0.5 * least, out=self.step)
        self.last = residual.copy()


def middle(values: Values, least: int = 1) -> Values:
    """Median along the first axis, NaN left out; NaN where fewer than `least` remain."""
    ordered = np.sort(values, axis=0)  # NaN go last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(ordered) - 1)
    picked = (np.take_along_axis(ordered, low[None], 0) + np.take_along_axis(ordered, high[None], 0))[0] / 2.0
    return np.where(count >= max(1, least), picked, np.nan)


def others(values: Values, trusted: Mask) -> Values:
    """For each station the median of the trusted other ones; NaN with fewer than two. f64[stations, quantities]."""
    stations = len(values)
    kept = np.where(trusted, values, np.nan)
    if stations < LEAST_OTHERS + 1:
        return np.full_like(values, np.nan)
    rest = np.array([[j for j in range(stations) if j != i] for i in range(stations)])
    return middle(np.swapaxes(kept[rest], 0, 1), LEAST_OTHERS)
