"""Small lasting changes: E. S. Page's cumulative sums (Biometrika 41, 1954), around a target or the learnt level, and
the Page-Hinkley form of it, around the mean since the last change.

Both sum what exceeds an allowance of `k` scales, to either side, never below 0. The sum g is worth the logarithm of how
rarely it is reached by chance: ARL(g) = (exp(r(g + 1.166)) - r(g + 1.166) - 1) / 2k^2 to one side (D. Siegmund,
Sequential Analysis, 1985). The rate r is the root of E exp(r(z - k)) = 1 (A. Wald, 1947): 2k for a Gaussian, less where
z is skewed to that side, found from the variance and third moment of this channel. Correlated readings: what is summed
is what could not be predicted, which is shifted by the change times (1 - phi).

Readings more frequent than one a minute are judged as means of a minute: a million readings is then never less than two
years, and the day's course that a channel read every second follows moves no faster than on one read every minute.

Around a learnt centre the allowance is at least WANDERS times what the short mean usually is off: a channel that is
read every second wanders with the day, and no such wandering is a change. A stated target is kept to.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import ENOUGH, MAX_SCORE, OWN
from fastpath.jit import inner

UP, DOWN, MEAN, HELD, NEAR_SUMMED, WANDER, SUMMED, POOL, POOLED, SQUARE, CUBE, MOMENTS = range(OWN, OWN + 12)

ALLOWANCE = 0.5
LEAST, MOST = 0.25, 1.5  # allowances that a given size may lead to
CLIP = 4.0
OVERSHOOT = 1.166
MEMORY = 1.0 / 4096.0  # of the mean since the last change
HELD_AT_CHANGE = 32.0  # readings the mean begins with after a change
WANDERS = 2.0
WANDER_UP, WANDER_DOWN = 1.0 / 512.0, 1.0 / 16384.0  # memories: the usual size rises sooner than it falls
NEAR_MEMORY = 1.0 / 16.0
POOL_NS = 60_000_000_000
MOMENT_MEMORY = 1.0 / 4096.0


@inner
def begin(d: F8, c: int) -> None:
    """The first reading of a channel: a unit Gaussian until it is known better."""
    d[c, SQUARE] = 1.0
    d[c, POOL] = 0.0
    d[c, POOLED] = 0.0


@inner
def pooled(d: F8, c: int, x: float, period_ns: int, gap: bool) -> float:
    """The mean of the last minute when x fills it, else NaN; x itself where readings are no more frequent. A gap begins
    another minute."""
    many = POOL_NS // period_ns if period_ns > 0 else 1
    if many <= 1:
        return x
    if gap:
        d[c, POOLED] = 0.0
    n = d[c, POOLED] + 1.0
    d[c, POOL] = x if n == 1.0 else d[c, POOL] + (x / n - d[c, POOL] / n)
    d[c, POOLED] = n if n < many else 0.0
    whole: float = d[c, POOL]
    return math.nan if n < many else whole


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
def rate(square: float, cube: float, k: float) -> float:
    """Root r of k = r square / 2 + r^2 cube / 6, the first terms of E exp(r(z - k)) = 1. Never more than a Gaussian's:
    thin tails are not relied on."""
    half = 0.5 * max(square, 1.0)
    found: float = 2.0 * k / (half + math.sqrt(half * half + max(cube, 0.0) * k / 1.5))
    return found


@inner
def moments(d: F8, c: int, z: float) -> None:
    """Take z into its second and third moment."""
    d[c, MOMENTS] += 1.0
    clipped = min(max(z, -CLIP), CLIP)
    memory = max(MOMENT_MEMORY, 1.0 / (d[c, MOMENTS] + ENOUGH))
    d[c, SQUARE] += memory * (clipped * clipped - d[c, SQUARE])
    d[c, CUBE] += memory * (clipped * clipped * clipped - d[c, CUBE])


@inner
def worth(g: float, r: float, k: float) -> float:
    """-log10 of how rarely either sum comes to g by chance."""
    b = r * (g + OVERSHOOT)
    return min(max(math.log10((math.exp(b) - b - 1.0) / (4.0 * k * k)), 0.0), MAX_SCORE)


@inner
def score(d: F8, c: int, z: float, k: float, onset: float) -> float:
    """Of the larger sum after z. Sums stop growing well above the onset, so that they fall in time afterwards."""
    clipped = min(max(z, -CLIP), CLIP)
    up, down = rate(d[c, SQUARE], d[c, CUBE], k), rate(d[c, SQUARE], -d[c, CUBE], k)
    most = 1.5 * onset * 2.302585092994046
    d[c, UP] = min(max(d[c, UP] + clipped - k, 0.0), most / up)
    d[c, DOWN] = min(max(d[c, DOWN] - clipped - k, 0.0), most / down)
    found: float = max(worth(d[c, UP], up, k), worth(d[c, DOWN], down, k))
    return found


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
