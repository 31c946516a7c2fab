"""Small lasting changes: E. S. Page's cumulative sums (Biometrika 41, 1954), around a target or the learnt level, and
the Page-Hinkley form of it, around the mean since the last change.

Both sum what exceeds an allowance of `k` scales, to either side, never below 0. The sum g is worth the logarithm of how
rarely it is reached by chance: ARL(g) = (exp(2k(g + 1.166)) - 2k(g + 1.166) - 1) / 2k^2 to one side (D. Siegmund,
Sequential Analysis, 1985). Correlated readings: what is summed is what could not be predicted, which is shifted by the
change times (1 - phi).

Around a learnt centre the allowance is at least WANDERS times what the short mean usually is off: a channel that is
read every second wanders with the day, and no such wandering is a change. A stated target is kept to.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import MAX_SCORE, OWN
from fastpath.jit import inner

UP, DOWN, MEAN, HELD, NEAR_SUMMED, WANDER, SUMMED = range(OWN, OWN + 7)

ALLOWANCE = 0.5
LEAST, MOST = 0.25, 1.5  # allowances that a given size may lead to
CLIP = 4.0
OVERSHOOT = 1.166
MEMORY = 1.0 / 4096.0  # of the mean since the last change
HELD_AT_CHANGE = 32.0  # readings the mean begins with after a change
WANDERS = 2.0
WANDER_UP, WANDER_DOWN = 1.0 / 512.0, 1.0 / 16384.0  # memories: the usual size rises sooner than it falls
NEAR_MEMORY = 1.0 / 16.0


@inner
def allowance(size: float, scale: float, phi: float) -> float:
    """Half the change to find, in scales of what is summed."""
    return ALLOWANCE if math.isnan(size) else min(max(0.5 * size * (1.0 - phi) / scale, LEAST), MOST)


@inner
def wandering(d: F8, c: int, z: float) -> float:
    """The usual size, so far, of the short mean of what is summed; z is taken into it."""
    usual: float = d[c, WANDER]
    d[c, SUMMED] += 1.0
    clipped = min(max(z, -CLIP), CLIP)
    d[c, NEAR_SUMMED] += NEAR_MEMORY * (clipped - d[c, NEAR_SUMMED])
    off = abs(d[c, NEAR_SUMMED]) - usual
    d[c, WANDER] += max(WANDER_UP if off > 0.0 else WANDER_DOWN, 1.0 / d[c, SUMMED]) * off
    return usual


@inner
def score(d: F8, c: int, z: float, k: float, onset: float) -> float:
    """Of the larger sum after z. Sums stop growing well above the onset, so that they fall in time afterwards."""
    clipped = min(max(z, -CLIP), CLIP)
    most = 1.5 * onset * 2.302585092994046 / (2.0 * k)
    d[c, UP] = min(max(d[c, UP] + clipped - k, 0.0), most)
    d[c, DOWN] = min(max(d[c, DOWN] - clipped - k, 0.0), most)
    b = 2.0 * k * (max(d[c, UP], d[c, DOWN]) + OVERSHOOT)
    return min(max(math.log10((math.exp(b) - b - 1.0) / (4.0 * k * k)), 0.0), MAX_SCORE)


@inner
def mean(d: F8, c: int, x: float) -> float:
    """The mean since the last change, before x; x is taken into it."""
    before: float = d[c, MEAN] if d[c, HELD] > 0.0 else x
    d[c, HELD] += 1.0
    d[c, MEAN] = before + max(1.0 / d[c, HELD], MEMORY) * (x - before)
    return before


@inner
def accept(d: F8, c: int, near: float) -> None:
    """Begin anew around the recent average."""
    d[c, UP] = 0.0
    d[c, DOWN] = 0.0
    d[c, MEAN] = near
    d[c, HELD] = HELD_AT_CHANGE
