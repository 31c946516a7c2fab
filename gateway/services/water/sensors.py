"""What a sensor of a zone says by itself: stuck, silent, noisy, throwing spikes. In: an hour of rows. Out: which
columns are at fault, how. It knows no model of the network: what only the others can tell (offset, drift) is in `zone`.

Limits are learnt from each column's own past, as its longest time at one value and its usual scatter from row to row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

KEPT_H = 240  # hours of which the usual scatter is the median
STUCK_H = 2.0
RUNS = 3.0  # times as long as ever before
DROPOUT_H = 2.0
NOISY = 2.0  # times the usual scatter
NOISY_H = 3
SPIKE = 8.0  # usual scatters, and 1.5 times what an ordinary hour brings at most
SHARED = 0.5  # of the variance of an hour's scatter: two columns with so much in common show the water, not a fault
SPIKES = 3  # within a day
SPIKE_MEMORY_H = 24
CALM_H = 12  # without a spike, after spikes
HIGH = 0.98  # one hour in fifty is above it
LEAST_ROWS = 4  # an hour of fewer rows says nothing of scatter


class Fault(StrEnum):
    STUCK = "stuck"
    DROPOUT = "dropout"
    NOISY = "noisy"
    SPIKES = "spikes"
    OFFSET = "offset"
    DRIFT = "drift"


KINDS = (Fault.STUCK, Fault.DROPOUT, Fault.NOISY, Fault.SPIKES)


@dataclass(slots=True)
class Habits:
    """What has been learnt of `columns` columns. Times are in rows, rings in hours."""

    hours: int
    last: F64  # the two rows before
    run: F64  # rows at one value
    longest: F64  # [2, columns]: longest run so far at other values than 0, and at 0
    missing: F64
    scatter: F64  # [KEPT_H, columns]: median of |second difference|
    jump: F64  # [KEPT_H, columns]: largest of it
    noisy: F64  # hours, less those that were not
    spikes: F64  # [SPIKE_MEMORY_H, columns]

    @staticmethod
    def new(columns: int) -> Habits:
        return Habits(
            0,
            np.full((2, columns), np.nan),
            np.zeros(columns),
            np.zeros((2, columns)),
            np.zeros(columns),
            np.full((KEPT_H, columns), np.nan),
            np.full((KEPT_H, columns), np.nan),
            np.zeros(columns),
            np.zeros((SPIKE_MEMORY_H, columns)),
        )


def shown_for(habits: Habits, kind: Fault, column: int, rows_an_hour: int) -> int:
    """Hours, at most, for which a fault that is told now may have been there."""
    if kind is Fault.STUCK:
        return math.ceil(float(habits.run[column]) / rows_an_hour) + 1
    return NOISY_H + 2 if kind is Fault.NOISY else 0  # what is missing is missing, spikes are taken out one by one


def second_difference(rows: F64, before: F64) -> F64:
    """f64[rows, columns]: how far each row but the last lies off the mean of its neighbours; row i is of the reading
    before row i of `rows`. `before` f64[2, columns] are the two rows before them."""
    line = np.vstack([before, rows])
    result: F64 = line[1:-1] - 0.5 * (line[:-2] + line[2:])
    return result


def judge(habits: Habits, rows: F64, faulty: Mask, learning: bool, rows_an_hour: float) -> tuple[Mask, Mask]:
    """f64[rows, columns] of one hour, `faulty` bool[kinds, columns] at its start: (bool[kinds, columns] after it,
    bool[rows, columns]: single rows that are spikes). Changes `habits`."""
    state = faulty.copy()
    columns = rows.shape[1]
    at_fault: Mask = np.asarray(faulty.any(axis=0))
    _runs(habits, rows, state, at_fault, rows_an_hour, learning)
    dead = np.isnan(rows)
    silent = int(dead[-1].sum())
    for row in dead:
        habits.missing = np.where(row, habits.missing + 1.0, 0.0)
    lost = habits.missing >= max(2.0, DROPOUT_H * rows_an_hour)
    state[1] = lost if 2 * silent <= columns else state[1] & lost  # of all at once the line is at fault
    spiky = np.zeros(rows.shape, bool)
    if len(rows) >= LEAST_ROWS and rows_an_hour >= LEAST_ROWS:
        spiky = _scatter(habits, rows, state, at_fault, learning)
    habits.last = np.vstack([habits.last, rows])[-2:]
    habits.hours += 1
    return state, spiky


def _runs(habits: Habits, rows: F64, state: Mask, faulty: Mask, rows_an_hour: float, learning: bool) -> None:
    last = habits.last[-1]
    every = np.arange(rows.shape[1])
    for row in rows:
        same, gone = row == last, np.isnan(row)
        zero = (last == 0.0).astype(np.int64)
        over = ~same & ~gone & ~state[0] & ~faulty
        longest = habits.longest[zero, every]
        habits.longest[zero, every] = np.where(over, np.maximum(longest, habits.run), longest)
        habits.run = np.where(same, habits.run + 1.0, np.where(gone, habits.run, 0.0))
        last = np.where(gone, last, row)
    zero = (last == 0.0).astype(np.int64)
    least = np.where(zero == 1, 24.0 * rows_an_hour, max(4.0, STUCK_H * rows_an_hour))
    longest = np.where((zero == 1) & (habits.longest[1] > 0.0), np.inf, habits.longest[zero, every])
    held = habits.run >= np.maximum(least, RUNS * longest)  # what has rested at 0 before may do so again
    if learning:
        habits.longest[1] = np.where(zero == 1, np.maximum(habits.run, habits.longest[1]), habits.longest[1])
        held &= (zero == 0) & (habits.hours >= 24)
    state[0] = np.where(state[0], habits.run > 0, held)


def _scatter(habits: Habits, rows: F64, state: Mask, faulty: Mask, learning: bool) -> Mask:
    signed = second_difference(rows, habits.last)
    off = np.abs(signed)
    many = np.isfinite(off).sum(axis=0) >= LEAST_ROWS - 1
    filled = np.where(np.isfinite(off), off, 0.0)
    order = np.sort(filled, axis=0)
    middle = np.where(many, order[len(order) // 2], np.nan)
    top = np.where(many, order[-1], np.nan)
    usual, most, extreme = usual_scatter(habits)
    known = (usual > 0.0) & (habits.hours >= 24)  # of what hardly ever moves nothing is known
    limit = np.where(known, np.maximum(SPIKE * usual, 1.5 * extreme), np.inf)
    over = filled > np.maximum(limit, 1e-9)
    # a spike shows at its neighbours, too, half as high: only the highest of three in a row counts
    around = np.vstack([np.zeros((1, off.shape[1])), filled, np.zeros((1, off.shape[1]))])
    peak = over & (filled >= around[:-2]) & (filled > around[2:])
    # of few rows one spike moves most: without it and its neighbours the hour may be an ordinary one
    beside = over & (peak | np.vstack([peak[1:], peak[:1] & False]) | np.vstack([peak[:1] & False, peak[:-1]]))
    others = _middle(np.where(beside, np.nan, off))
    calmer = np.where((peak.sum(axis=0) == 1) & np.isfinite(others), others, middle)
    loud = known & many & (calmer > np.maximum(NOISY * usual, 1.5 * most))
    shared = _shared(signed, known & many & (calmer > most))
    noisy = loud & ~shared
    habits.noisy = np.clip(habits.noisy + np.where(noisy, 1.0, np.where(many, -1.0, 0.0)), 0.0, 2.0 * NOISY_H)
    state[2] = np.where(state[2], habits.noisy > 0, habits.noisy >= NOISY_H)
    peak &= (peak.sum(axis=1) == 1)[:, None]  # two in one row: a pump ran for a moment, a valve closed
    habits.spikes = np.vstack([habits.spikes[1:], peak.sum(axis=0)[None]])
    # scatter and a jump back from one value are no spikes
    habits.spikes[:, loud | shared | state[0] | state[2]] = 0.0
    recent = habits.spikes.sum(axis=0)
    calm = habits.spikes[-CALM_H:].sum(axis=0) == 0
    state[3] = np.where(state[3], ~calm, (recent >= SPIKES) & ~calm)

    fresh = np.where(faulty | state.any(axis=0), np.nan, 1.0)
    at = habits.hours % KEPT_H
    habits.scatter[at] = middle * fresh
    habits.jump[at] = np.where(learning | ~over.any(axis=0), top, np.nan) * fresh
    spiky = np.zeros(rows.shape, bool)
    spiky[:-1] = peak[1:]
    return spiky


def _shared(signed: F64, restless: Mask) -> Mask:
    """bool[columns]: which of the `restless` move row by row with another of them, as sensors at fault do not."""
    shared = np.zeros(len(restless), bool)
    at = np.flatnonzero(restless)
    here = signed[np.isfinite(signed[:, at]).all(axis=1)][:, at]
    if len(at) > 1 and len(here) >= LEAST_ROWS:
        centred = here - here.mean(axis=0)
        size = np.sqrt((centred**2).sum(axis=0))
        with np.errstate(invalid="ignore", divide="ignore"):
            common = ((centred.T @ centred) / np.outer(size, size)) ** 2
        np.fill_diagonal(common, 0.0)
        shared[at] = (np.nan_to_num(common) > SHARED).any(axis=0)
    return shared


def usual_scatter(habits: Habits) -> tuple[F64, F64, F64]:
    """(usual scatter from row to row, the scatter and the largest jump that one hour in fifty exceeds), f64[columns];
    NaN while unknown."""
    filled = min(habits.hours, KEPT_H)
    scatter, many = _ordered(habits.scatter[:filled])
    jump, more = _ordered(habits.jump[:filled])
    known = (many > 0) & (more > 0)
    middle = 0.5 * (_at(scatter, (many - 1) // 2) + _at(scatter, many // 2))
    high, highest = _at(scatter, (HIGH * many).astype(np.int64)), _at(jump, (HIGH * more).astype(np.int64))
    return np.where(known, middle, np.nan), np.where(known, high, np.nan), np.where(known, highest, np.nan)


def _middle(values: F64) -> F64:
    ordered, many = _ordered(values)
    return np.where(many > 0, _at(ordered, many // 2), np.nan)


def _ordered(values: F64) -> tuple[F64, NDArray[np.int64]]:
    """(each column in order, what is missing last; how many are known)."""
    return np.sort(values, axis=0), np.isfinite(values).sum(axis=0)


def _at(ordered: F64, place: NDArray[np.int64]) -> F64:
    """f64[columns]: of each column of `ordered` the value at its own `place`; NaN where there is none."""
    if not len(ordered):
        return np.full(ordered.shape[1], np.nan)
    return ordered[np.clip(place, 0, len(ordered) - 1), np.arange(ordered.shape[1])]
