"""Between which bounds the next reading of a channel would be nothing new to its detector, for people to look at.

State in, two columns out; nothing is learnt here. The universal detector compares the step from the short mean and the
distance from the slow one with their records: within the bounds a reading beats neither. The detectors chosen by name
give the prediction and the scale of what it leaves: REACH scales of a Gaussian are the chance of one in a million,
their ONSET_SCORE. What needs many readings to show (a drift, a flat line, sums of means of a minute) has no bounds in
one.
"""

from __future__ import annotations

import numpy as np

from fastpath import cusum, detect, detectors, habit, novelty
from fastpath.columns import F8
from fastpath.layout import DETECTOR, PERIOD, Settings, State

REACH = 4.89  # standard deviations: two sides of one in a million
SUMS = (detectors.CUSUM, detectors.PAGE_HINKLEY)
BY_SCALE = (detectors.LEVEL, detectors.SPIKE, detectors.SEASONAL, *SUMS)


def band(settings: Settings, state: State) -> tuple[F8, F8]:
    """f64[n] lowest and highest value that is nothing new, in the channel's unit; NaN where nothing is known yet."""
    n = len(settings.whole)
    low, high = np.full(n, np.nan), np.full(n, np.nan)
    which = settings.whole[:, DETECTOR]
    universal = np.flatnonzero((which == detectors.DEFAULT) & (state.detector[:, detect.COUNT] >= novelty.EARLY))
    if universal.size:
        low[universal], high[universal] = _of_records(state.detector[universal])
    period = settings.whole[:, PERIOD]
    means = np.isin(which, SUMS) & (period > 0) & (2 * period <= cusum.POOL_NS)
    named = np.flatnonzero(np.isin(which, BY_SCALE) & ~means & (state.detector[:, habit.COUNT] >= habit.ENOUGH))
    if named.size:
        d = state.detector[named]
        reach = REACH * np.maximum(d[:, habit.SCALE], d[:, habit.QUANTUM])
        low[named], high[named] = d[:, habit.EXPECTED] - reach, d[:, habit.EXPECTED] + reach
    return low, high


def _of_records(rows: F8) -> tuple[F8, F8]:
    """The narrower of both features' bounds, on each side."""
    spread = detect.FLOOR * np.sqrt(rows[:, detect.VARIANCE]) + 1e-12 * np.abs(rows[:, detect.MEAN]) + 1e-300
    least = detect.QUANTA * rows[:, detect.QUANTUM]
    low, high = np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
    for feature, centre, share in (
        (novelty.STEP, rows[:, detect.MEAN_SHORT], 1.0),
        (novelty.DISTANCE, rows[:, detect.MEAN], 1.0 - detect.SLOW),
    ):
        above = novelty.SIDES + 2 * novelty.WORDS * feature
        up, down = ((_record(rows, side, least) + spread) / share for side in (above, above + novelty.WORDS))
        low, high = np.maximum(low, centre - down), np.minimum(high, centre + up)
    return low, high


def _record(rows: F8, side: int, least: F8) -> F8:
    usual = novelty.GATE * rows[:, side + novelty.USUAL]
    return np.maximum(np.maximum(rows[:, side + novelty.RECORD], usual), least)
