"""Is this the largest that was ever seen? Feature values in, how far beyond their own records out.

A feature is a number that is near zero while a channel keeps its habits: the step from the short mean, the distance
from what the hour leads to expect. Each side of each feature keeps its record, the largest value so far; the ratio of
a new value to that record needs no unit, no scale and no training, and what has happened once is no news the second
time. A record counts no less than GATE usual sizes of its feature, so noise, whose records creep, stays below 1.

A record is beaten by readings that came at least a moment before (LAG), else a slow rise would carry its own record
along. Records far beyond the usual size fade over a year, so that one glitch does not blind a channel for life; what
comes back weekly does not fade.

State a channel: the columns [FIRST, FIRST + COLUMNS) of a row of f64.
"""

from __future__ import annotations

import math

import numpy as np

from fastpath import season
from fastpath.columns import F8
from fastpath.jit import inner

STEP, DISTANCE, UNSEASONAL, HUMP, SHIFT, LASTING_SHIFT, LASTING_UNSEASONAL, ROUGH, STRANGE, QUIET, FLAT = range(11)
FEATURES = 11

GATE = 10.0
LAG = np.array([2, 2, 2, 2, 8, 32, 32, 2, 32, 32, 64])  # readings, powers of two
SIZE_SHARE = 1.0 / 2000.0
EXTREME = 10.0  # usual sizes beyond which a record fades
FADE_S = 365.0 * 86400.0
FADE_READINGS = 8000.0
EARLY = 200.0  # readings whose records stand at once, unreported
LARGEST_LEAP = 100.0  # one reading raises a record no further than this many times

FIRST = season.COLUMNS
VALUE = FIRST  # the feature's present value
SIDES = VALUE + FEATURES  # then three numbers for each side of each feature: above, below
USUAL, RECORD, NEWEST = range(3)  # mean size, record, largest since the record was last looked at
WORDS = 3
COLUMNS = FEATURES + 2 * FEATURES * WORDS


@inner
def ratio(row: F8, j: int, reading: int, share: float, least: float, floor: float, accept: bool) -> float:
    """Feature j over its record, which counts no less than `least`, and both over `floor`; and what the reading
    teaches. `share` is that of one reading in the usual size; `accept` lets a new record stand at once."""
    f = row[VALUE + j]
    size = abs(f)
    above = SIDES + 2 * WORDS * j
    below = above + WORDS
    side, other = (above, below) if f >= 0.0 else (below, above)
    usual = row[side + USUAL] + share * (size - row[side + USUAL])
    row[side + USUAL] = usual
    row[other + USUAL] -= share * row[other + USUAL]
    if reading & (LAG[j] - 1) == 0:
        for at in (above, below):
            row[at + RECORD] = max(row[at + RECORD], row[at + NEWEST])
            row[at + NEWEST] = 0.0
    record = max(row[side + RECORD], GATE * usual, least) + floor
    at = side + (RECORD if accept else NEWEST)
    row[at] = max(row[at], min(size, LARGEST_LEAP * record))
    return float(size / record)


@inner
def fade(row: F8, reading: int, period_s: float) -> None:
    """Let the records of one feature fade, each feature in its turn."""
    share = FEATURES / max(FADE_READINGS, FADE_S / max(period_s, 1e-3))
    above = SIDES + 2 * WORDS * (reading % FEATURES)
    for side in (above, above + WORDS):
        limit = EXTREME * row[side + USUAL]
        if row[side + RECORD] > limit > 0.0:
            row[side + RECORD] *= 1.0 - math.log(row[side + RECORD] / limit) * share


@inner
def settle(row: F8) -> None:
    """Let everything new stand: it has been reported."""
    for side in range(SIDES, SIDES + 2 * FEATURES * WORDS, WORDS):
        row[side + RECORD] = max(row[side + RECORD], row[side + NEWEST])
        row[side + NEWEST] = 0.0
