"""What a channel usually reads at this hour, on working days and at weekends: reading and time in, residual out.

A profile of 24 hours for each of the two kinds of day. Where both know the hour, the one that fits better counts, so a
holiday looks like a Sunday and not like a fault. An hour never seen predicts nothing. Days are UTC days: what matters
is that an hour comes back, not what people call it.

State a channel: the columns [0, COLUMNS) of a row of f64.
"""

from __future__ import annotations

from fastpath.columns import F8
from fastpath.jit import inner

HOUR_NS = 3_600_000_000_000
HOURS = 24
MEMORY_DAYS = 5.0  # of an hour's profile
LARGEST_SHARE = 0.1  # of one reading
SPREAD_SHARE = 0.05
STRANGEST = 1000.0  # residuals in usual units are clipped here
CLIP = 8.0  # spreads teach no more than this many spreads
UNSEEN = 1e300

PROFILE = 0  # working days, then weekends
SPREAD = PROFILE + 2 * HOURS  # mean size of residuals, by hour
TYPICAL = SPREAD + HOURS  # the same of all hours
RESIDUALS = TYPICAL + 1  # how many there were
COLUMNS = RESIDUALS + 1


@inner
def begin(row: F8) -> None:
    row[PROFILE : PROFILE + 2 * HOURS] = UNSEEN


@inner
def hour_of(t_ns: int) -> int:
    """0 .. 23 on working days, 24 .. 47 at weekends. Day 0 was a Thursday."""
    hours = t_ns // HOUR_NS
    weekday = (hours // HOURS + 3) % 7
    return hours % HOURS + (HOURS if weekday >= 5 else 0)


@inner
def residual(row: F8, hour: int, x: float) -> float:
    """How far x is from what this hour leads to expect; UNSEEN where nothing is known of it."""
    own = float(row[PROFILE + hour])
    working = float(row[PROFILE + hour % HOURS])
    if own == UNSEEN:
        return UNSEEN if working == UNSEEN else x - working
    if working != UNSEEN and abs(x - working) < abs(x - own):
        return x - working
    return x - own


@inner
def standard(row: F8, hour: int, left: float, floor: float) -> float:
    """The residual `left` in units of what is usual, half by hour, half over all."""
    strange = left / (0.5 * float(row[SPREAD + hour % HOURS] + row[TYPICAL]) + floor)
    return min(max(strange, -STRANGEST), STRANGEST)


@inner
def learn(row: F8, hour: int, x: float, smooth: float, left: float, period_s: float, slow: float) -> None:
    """Take x into its hour; an hour begins with the short mean `smooth`."""
    if left != UNSEEN:
        size = abs(left)
        row[RESIDUALS] += 1.0
        typical = row[TYPICAL]
        share = max(slow, 1.0 / row[RESIDUALS])
        row[TYPICAL] = typical + share * ((min(size, CLIP * typical) if typical > 0.0 else size) - typical)
        at = SPREAD + hour % HOURS
        spread = row[at]
        row[at] = spread + SPREAD_SHARE * (min(size, CLIP * spread) - spread) if spread > 0.0 else size
    at = PROFILE + hour
    if row[at] == UNSEEN:
        row[at] = smooth
    share = min(LARGEST_SHARE, period_s / (3600.0 * MEMORY_DAYS))
    row[at] += share * (x - row[at])
