"""Window statistics: readings in, one row a channel and window out. Every finite reading counts in `n`.

Gauges: min, max, mean and population sd (B. P. Welford, Technometrics 4, 1962), first, last, p50, p95 over
the readings not marked RANGE. Counters: `mean` is the delta over the window, `sd` the rollovers; a fall
that is no rollover is a reset, which adds nothing and makes the window suspect. States: `mean` is the share
of time not 0, `sd` the changes.

Windows lie on the grid floor((t + align) / length). A late reading counts in the open window. After a gap
at most EMPTY_ROWS empty windows are written, then the grid is jumped to the present.
"""

from __future__ import annotations

import math

from fastpath import sketch
from fastpath.columns import LARGEST
from fastpath.jit import inner, outlined
from fastpath.layout import NEVER, WINDOW_NUMBER, WINDOW_NUMBERS, WINDOW_WHOLE, WINDOW_WHOLES, Output, State
from fastpath.marks import NO_NUMBER, OUT_OF_RANGE, RANGE, SPIKE, STALE, STEP, SUSPECT

GAUGE = 0
COUNTER = 1
STATE = 2
WAVEFORM = 3

EMPTY_ROWS = 3
ROWS_A_READING = 1 + EMPTY_ROWS

# words of a channel's row: numbers, then whole
MIN, MAX, MEAN, M2, FIRST, LAST, DELTA, BEFORE = range(WINDOW_NUMBER, WINDOW_NUMBER + WINDOW_NUMBERS)
START, END, ROWS, N, M, LAST_NS, QUALITY, KNOWN_NS, ON_NS, EVENTS, BEFORE_NS = range(
    WINDOW_WHOLE, WINDOW_WHOLE + WINDOW_WHOLES
)

# words of the rows written: whole, then numbers
OUT_CHANNEL, OUT_START, OUT_END, OUT_N, OUT_EXPECTED, OUT_LAST_NS, OUT_QUALITY = range(7)
OUT_MIN, OUT_MAX, OUT_MEAN, OUT_SD, OUT_FIRST, OUT_LAST, OUT_P50, OUT_P95, OUT_P05, OUT_P25, OUT_P75 = range(7, 18)

FAR = 1e150  # a deviation whose square is not finite


@inner
def grid_start(t: int, length: int, align: int) -> int:
    return (t + align) // length * length - align


@inner
def reopen(w: State, c: int) -> None:
    """Empty window c; what carries over (last counter reading or state) stays."""
    w.number[c, MIN] = math.inf
    w.number[c, MAX] = -math.inf
    w.number[c, MEAN] = 0.0
    w.number[c, M2] = 0.0
    w.number[c, FIRST] = math.nan
    w.number[c, LAST] = math.nan
    w.number[c, DELTA] = 0.0
    for k in range(ROWS, BEFORE_NS):
        w.whole[c, k] = 0
    sketch.clear(w.sketch, c)


@inner
def since_before(w: State, c: int, t: int) -> None:
    """States: the time from the reading before until t was spent in its state."""
    if w.whole[c, BEFORE_NS] == NEVER:
        return
    spent = min(t, w.whole[c, END]) - max(w.whole[c, BEFORE_NS], w.whole[c, START])
    if spent > 0:
        w.whole[c, KNOWN_NS] += spent
        if w.number[c, BEFORE] != 0.0:
            w.whole[c, ON_NS] += spent


@inner
def count_missing(w: State, c: int, quality: int) -> None:
    """A reading without a number: it was due, its quality counts, nothing else."""
    w.whole[c, ROWS] += 1
    w.whole[c, QUALITY] = max(w.whole[c, QUALITY], quality, NO_NUMBER)


@inner
def advance(w: State, c: int, x: float, rollover: float) -> int:
    """Counters: add the step from the reading before to the delta. 0: rose, 1: rolled over, 2: was reset."""
    rise = x - w.number[c, BEFORE]
    verdict = 0
    if rise < 0.0:
        verdict = 2
        if rollover < math.inf and -rise > 0.5 * rollover and rise + rollover >= 0.0:
            rise += rollover
            verdict = 1
    if verdict != 2:
        w.number[c, DELTA] = min(w.number[c, DELTA] + rise, LARGEST)
    return verdict


@inner
def count(
    w: State, c: int, kind: int, t: int, x: float, quality: int, mark: int, rollover: float,
) -> None:  # fmt: skip
    """Take one finite reading into the open window of c."""
    w.whole[c, ROWS] += 1
    w.whole[c, N] += 1
    w.whole[c, LAST_NS] = t
    if mark & RANGE:
        w.whole[c, QUALITY] = max(w.whole[c, QUALITY], quality, OUT_OF_RANGE)
        return
    if mark & (STEP | SPIKE):
        quality = max(quality, SUSPECT)
    m = w.whole[c, M] + 1
    w.whole[c, M] = m
    if m == 1:
        w.number[c, FIRST] = x
    w.number[c, LAST] = x
    w.number[c, MIN] = min(w.number[c, MIN], x)
    w.number[c, MAX] = max(w.number[c, MAX], x)
    if kind == GAUGE:
        off = x - w.number[c, MEAN]
        if abs(off) < FAR:
            w.number[c, MEAN] += off / m
            w.number[c, M2] = min(w.number[c, M2] + off * (x - w.number[c, MEAN]), LARGEST)
        else:
            w.number[c, MEAN] += x / m - w.number[c, MEAN] / m
            w.number[c, M2] = LARGEST
        sketch.add(w.sketch, c, x, 1.0)
    elif not mark & STALE:
        if kind == STATE:
            since_before(w, c, t)
            if w.whole[c, BEFORE_NS] != NEVER and x != w.number[c, BEFORE]:
                w.whole[c, EVENTS] += 1
        elif w.whole[c, BEFORE_NS] != NEVER:
            verdict = advance(w, c, x, rollover)
            if verdict == 1:
                w.whole[c, EVENTS] += 1
            elif verdict == 2:
                quality = max(quality, SUSPECT)
        w.number[c, BEFORE] = x
        w.whole[c, BEFORE_NS] = t
    w.whole[c, QUALITY] = max(w.whole[c, QUALITY], quality)


@inner
def expected_in(covered: int, period: int, rows: int) -> int:
    """Readings that were due: as many as the period gives, and never fewer than came."""
    due = (covered + period // 2) // period if period > 0 and covered > 0 else 0
    return max(rows, due)


@outlined
def close(
    w: State, c: int, kind: int, period: int, end: int, out: Output, row: int,
) -> None:  # fmt: skip
    """Write window c, ending at `end`, as `row` of the output and empty it. The caller sets the new START."""
    if kind == STATE:
        since_before(w, c, end)
    out.whole[row, OUT_CHANNEL] = c
    out.whole[row, OUT_START] = w.whole[c, START]
    out.whole[row, OUT_END] = end
    out.whole[row, OUT_N] = w.whole[c, N]
    out.whole[row, OUT_EXPECTED] = expected_in(end - w.whole[c, START], period, w.whole[c, ROWS])
    out.whole[row, OUT_LAST_NS] = w.whole[c, LAST_NS]
    out.whole[row, OUT_QUALITY] = w.whole[c, QUALITY]
    for k in range(OUT_MIN, OUT_P75 + 1):
        out.number[row, k] = math.nan
    m = w.whole[c, M]
    if m > 0:
        out.number[row, OUT_MIN] = w.number[c, MIN]
        out.number[row, OUT_MAX] = w.number[c, MAX]
        out.number[row, OUT_FIRST] = w.number[c, FIRST]
        out.number[row, OUT_LAST] = w.number[c, LAST]
        if kind == GAUGE:
            out.number[row, OUT_MEAN] = min(max(w.number[c, MEAN], w.number[c, MIN]), w.number[c, MAX])
            out.number[row, OUT_SD] = math.sqrt(w.number[c, M2] / m)
            sketch.sort(w.sketch, c)
            out.number[row, OUT_P50] = sketch.quantile(w.sketch, c, 0.5)
            out.number[row, OUT_P95] = sketch.quantile(w.sketch, c, 0.95)
            out.number[row, OUT_P05] = sketch.quantile(w.sketch, c, 0.05)
            out.number[row, OUT_P25] = sketch.quantile(w.sketch, c, 0.25)
            out.number[row, OUT_P75] = sketch.quantile(w.sketch, c, 0.75)
        else:
            out.number[row, OUT_SD] = w.whole[c, EVENTS]
            if kind == COUNTER:
                out.number[row, OUT_MEAN] = w.number[c, DELTA]
            elif w.whole[c, KNOWN_NS] > 0:
                out.number[row, OUT_MEAN] = w.whole[c, ON_NS] / w.whole[c, KNOWN_NS]
            else:
                out.number[row, OUT_MEAN] = 1.0 if w.number[c, LAST] != 0.0 else 0.0
    reopen(w, c)


@outlined
def roll(
    w: State, c: int, kind: int, period: int, length: int, align: int, t: int, out: Output, row: int,
) -> int:  # fmt: skip
    """Close what ends at or before t and open the window that holds t. Gives the next free row."""
    last_row = row + ROWS_A_READING
    while t >= w.whole[c, END] and row < last_row:
        end = w.whole[c, END]
        close(w, c, kind, period, end, out, row)
        row += 1
        w.whole[c, START] = end
        w.whole[c, END] = end + length
    if t >= w.whole[c, END]:
        w.whole[c, START] = grid_start(t, length, align)
        w.whole[c, END] = w.whole[c, START] + length
    return row
