"""Variance change: the recent size of what could not be predicted against its usual size, as a logarithm, in units of
how much that logarithm usually varies.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import COUNT, ENOUGH, OWN, QUANTUM, SLOW, score_of
from fastpath.jit import inner

RECENT, USUAL, RATIO_POWER = OWN, OWN + 1, OWN + 2

MEMORY = 1.0 / 32.0
HELD_AT_FIRST = 32.0  # readings that the Gaussian sizes it begins with are worth
CLIP = 8.0
GAUSSIAN_SIZE = 0.7979  # mean of |z|
POWER_OF_GAUSSIAN = 0.0093  # of the logarithm: var |z| / (mean |z|)^2 * MEMORY / (2 - MEMORY)


@inner
def begin(d: F8, c: int) -> None:
    d[c, RECENT] = GAUSSIAN_SIZE
    d[c, USUAL] = GAUSSIAN_SIZE


@inner
def score(d: F8, c: int, z: float, scale: float) -> float:
    """Of more or of less noise than usual. Sizes below a quarter of the smallest step are alike, and a channel that
    has never changed has none."""
    size = min(abs(z), CLIP)
    d[c, RECENT] += MEMORY * (size - d[c, RECENT])
    d[c, USUAL] += max(SLOW, 1.0 / (d[c, COUNT] - ENOUGH + HELD_AT_FIRST)) * (size - d[c, USUAL])
    if d[c, QUANTUM] == 0.0:
        return 0.0
    floor = 0.25 * d[c, QUANTUM] / scale + 1e-9
    ratio = math.log((d[c, RECENT] + floor) / (d[c, USUAL] + floor))
    power = max(d[c, RATIO_POWER], POWER_OF_GAUSSIAN)
    found = score_of(abs(ratio) / math.sqrt(power))
    d[c, RATIO_POWER] = power + 0.25 * SLOW * (min(ratio * ratio, 16.0 * power) - power)
    return float(found)


@inner
def accept(d: F8, c: int) -> None:
    d[c, USUAL] = d[c, RECENT]
